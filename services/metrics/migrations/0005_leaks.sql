-- When the latest exposure to the variant happened, at most when it was written to the log; and of an experiment
-- that has ended, how many units met the variant for the first time when clients no longer gave it to anybody.
ALTER TABLE partition_variants
    ADD last_exposed_ms bigint NOT NULL DEFAULT 0,
    ADD late_units bigint NOT NULL DEFAULT 0;

-- When to judge again though nothing is new: a rollback waits to be verified, a leak to be over.
ALTER TABLE judgements ADD again_at_ms bigint;
-- A rollback that is not yet verified: to be judged even if no unit ever met the experiment.
ALTER TABLE experiments ADD awaits_verification boolean NOT NULL DEFAULT false;
CREATE INDEX judgements_again ON judgements (again_at_ms) WHERE again_at_ms IS NOT NULL;
