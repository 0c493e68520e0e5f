-- The variant that each unit of a sticky experiment was given first, and the experiment's revision then.
CREATE TABLE sticky_units (
    experiment_id text NOT NULL,
    unit_id text NOT NULL,
    variant text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (experiment_id, unit_id)
);

-- Finds what may be forgotten without looking at what may not.
CREATE INDEX sticky_units_by_age ON sticky_units (experiment_id, revision);
