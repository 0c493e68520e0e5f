-- What assignment owns. `body` is the JSON of the schema, as published; the columns beside it are for finding.
CREATE TABLE experiments (
    experiment_id text PRIMARY KEY,
    revision bigint NOT NULL,
    state text NOT NULL,
    trial_of text,                       -- the model, of a champion_challenger experiment
    updated_at_ms bigint NOT NULL,
    body json NOT NULL
);

CREATE INDEX experiments_by_state ON experiments (state, updated_at_ms DESC);
CREATE INDEX experiments_by_time ON experiments (updated_at_ms DESC);

-- However many processes there are: one live trial a model.
CREATE UNIQUE INDEX one_live_trial ON experiments (trial_of) WHERE state IN ('running', 'paused');

-- Every revision that there ever was. Append-only: the rule below refuses anything else.
CREATE TABLE history (
    experiment_id text NOT NULL,
    revision bigint NOT NULL,
    verdict_id text UNIQUE,              -- no verdict is followed twice
    body json NOT NULL,
    PRIMARY KEY (experiment_id, revision)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'history is append-only';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE models (
    model text PRIMARY KEY,
    row_revision bigint NOT NULL,
    body json NOT NULL
);

-- One row: the number of the rule set. Every change of anything above raises it.
CREATE TABLE rules (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL
);

INSERT INTO rules (revision) VALUES (0);

-- include: outbox
