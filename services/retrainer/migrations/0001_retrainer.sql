-- include: outbox

-- Who is in charge of each model; the record. The registry's aliases follow.
CREATE TABLE models (
    model text PRIMARY KEY,
    state jsonb NOT NULL,
    revision bigint NOT NULL,
    aliased_revision bigint NOT NULL DEFAULT 0
);

-- Which version was what from when on. Rows are only added.
CREATE TABLE versions_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    version text NOT NULL,
    became text NOT NULL,
    revision bigint NOT NULL,
    at_ms bigint NOT NULL,
    reason text NOT NULL,
    body jsonb
);
CREATE INDEX versions_log_by_version ON versions_log (model, version, id DESC);

CREATE TABLE runs (
    retraining_id text PRIMARY KEY,
    model text NOT NULL,
    state text NOT NULL,
    event jsonb NOT NULL,
    created_at_ms bigint NOT NULL,
    changed_at_ms bigint NOT NULL,
    why text NOT NULL,
    due_at_ms bigint NOT NULL,
    attempts integer NOT NULL,
    until_ms bigint
);
CREATE INDEX runs_by_model ON runs (model, changed_at_ms DESC);
-- Single flight, whatever the programs believe.
CREATE UNIQUE INDEX runs_single_flight ON runs (model)
    WHERE state IN ('requested', 'collecting', 'training', 'validating');

-- Events that were answered: a repetition is nothing new.
CREATE TABLE heard (
    kind text NOT NULL,
    event_id text NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, event_id)
);

CREATE TABLE registrations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registration_id text NOT NULL UNIQUE,
    body jsonb NOT NULL
);

-- Open episodes only.
CREATE TABLE alerts (
    model text NOT NULL,
    cause text NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (model, cause)
);
