-- The champion when a retraining was asked for: one that waited is pointless when it is another by then.
ALTER TABLE runs ADD COLUMN champion text;
