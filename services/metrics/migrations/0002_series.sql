-- Of the covariate: sums in micro-units, squares and products in micro-units squared. Rows from before it
-- existed know of none.
ALTER TABLE partition_metrics
    ADD covariate_total numeric NOT NULL DEFAULT 0,
    ADD covariate_squares numeric NOT NULL DEFAULT 0,
    ADD cross_total numeric NOT NULL DEFAULT 0;

-- One row per hour of event time. The hour stands before the variant in the key: the judge looks for an
-- experiment's latest hours every second, however many there are.
CREATE TABLE partition_hours (
    partition integer NOT NULL,
    experiment_id text NOT NULL,
    variant text NOT NULL,
    hour_ms bigint NOT NULL,
    units bigint NOT NULL,
    exposures bigint NOT NULL,
    conversions bigint NOT NULL,
    PRIMARY KEY (experiment_id, hour_ms, variant, partition)
);

-- `kind` is value, other or missing; `value` is empty unless the kind is value.
CREATE TABLE partition_segments (
    partition integer NOT NULL,
    experiment_id text NOT NULL,
    variant text NOT NULL,
    attribute text NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    metric text NOT NULL,
    units bigint NOT NULL,
    converted_units bigint NOT NULL,
    total numeric NOT NULL,
    total_squares numeric NOT NULL,
    PRIMARY KEY (experiment_id, variant, attribute, kind, value, metric, partition)
);
