-- Of a quantile: bin (see libs/statistics/quantile_sketch.py) to the number of units, both whole; a few
-- thousand bins at most. Empty for every other kind.
ALTER TABLE partition_metrics
    ADD sketch jsonb NOT NULL DEFAULT '{}';
