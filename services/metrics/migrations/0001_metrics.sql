-- include: partitions
-- include: outbox

-- What ingest publishes: absolute values per partition. `version` grows with every write of an experiment's
-- rows in a partition: the sum over partitions tells the judge whether anything is new.
CREATE TABLE partition_experiments (
    partition integer NOT NULL,
    experiment_id text NOT NULL,
    multi_variant_units bigint NOT NULL,
    latest_ms bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (experiment_id, partition)
);

CREATE TABLE partition_variants (
    partition integer NOT NULL,
    experiment_id text NOT NULL,
    variant text NOT NULL,
    units bigint NOT NULL,
    exposures bigint NOT NULL,
    conversions bigint NOT NULL,
    PRIMARY KEY (experiment_id, variant, partition)
);

-- Sums are in micro-units, their squares in micro-units squared: more than 64 bits, and exact.
CREATE TABLE partition_metrics (
    partition integer NOT NULL,
    experiment_id text NOT NULL,
    variant text NOT NULL,
    metric text NOT NULL,
    units bigint NOT NULL,
    converted_units bigint NOT NULL,
    total numeric NOT NULL,
    total_squares numeric NOT NULL,
    PRIMARY KEY (experiment_id, variant, metric, partition)
);

-- What the judge knows of the definitions: the record of the highest revision, as JSON.
CREATE TABLE experiments (
    experiment_id text PRIMARY KEY,
    revision bigint NOT NULL,
    record text NOT NULL
);

-- What it judged last, and what it remembers for the next time.
CREATE TABLE judgements (
    experiment_id text PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    judged_at_ms bigint NOT NULL DEFAULT 0,
    memory text NOT NULL DEFAULT '{}'
);
