CREATE SCHEMA witness;

-- Every state of every lease that a transaction left behind.
CREATE TABLE witness.leases (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    offsets jsonb NOT NULL
);
CREATE FUNCTION witness.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness.leases (partition, epoch, owner, offsets)
    VALUES (NEW.partition, NEW.epoch, NEW.owner, NEW.published_offsets);
    RETURN NULL;
END $$;
CREATE TRIGGER witness_note AFTER INSERT OR UPDATE OF epoch, owner, published_offsets
ON metrics.partition_leases FOR EACH ROW EXECUTE FUNCTION witness.note();

-- Exposures are only ever added, whatever else moves: a count that falls was read twice or lost.
CREATE TABLE witness.falls (partition integer, experiment_id text, variant text, before bigint, after bigint);
CREATE FUNCTION witness.fall() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness.falls VALUES (NEW.partition, NEW.experiment_id, NEW.variant, OLD.exposures, NEW.exposures);
    RETURN NULL;
END $$;
CREATE TRIGGER witness_fall AFTER UPDATE ON metrics.partition_variants FOR EACH ROW
WHEN (NEW.exposures < OLD.exposures) EXECUTE FUNCTION witness.fall();
