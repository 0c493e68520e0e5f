-- include: outbox
-- include: partitions

-- What each partition counted in each window: absolute, replaced as a whole.
CREATE TABLE windows (
    model text NOT NULL,
    version text NOT NULL,
    start_ms bigint NOT NULL,
    partition integer NOT NULL,
    predictions bigint NOT NULL,
    real_valued bigint NOT NULL,
    labelled bigint NOT NULL,
    correct bigint NOT NULL,
    body bytea NOT NULL,  -- histograms of features and outputs: MessagePack in zstd
    PRIMARY KEY (model, version, start_ms, partition)
);
ALTER TABLE windows ALTER COLUMN body SET STORAGE EXTERNAL;

-- All that each partition ever counted of a version.
CREATE TABLE totals (
    model text NOT NULL,
    version text NOT NULL,
    partition integer NOT NULL,
    predictions bigint NOT NULL,
    labelled bigint NOT NULL,
    PRIMARY KEY (model, version, partition)
);

-- How far each partition's event time has come, and what it left out, by reason.
CREATE TABLE progress (
    partition integer PRIMARY KEY,
    watermark_ms bigint NOT NULL,
    left_out jsonb NOT NULL
);

-- Who is champion and challenger: the latest record of each model.
CREATE TABLE models (
    model text PRIMARY KEY,
    revision bigint NOT NULL,
    state text NOT NULL
);

-- What the judge remembers of a version between two rounds.
CREATE TABLE journals (
    model text NOT NULL,
    version text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (model, version)
);
