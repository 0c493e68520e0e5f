-- Who put a version into quarantine or took it out, when and why. Append-only, as the history is.
CREATE TABLE quarantine_log (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    version text NOT NULL,
    act text NOT NULL,
    by text NOT NULL,
    reason text NOT NULL,
    occurred_at_ms bigint NOT NULL
);

CREATE INDEX quarantine_log_by_model ON quarantine_log (model, entry_id DESC);

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quarantine_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
