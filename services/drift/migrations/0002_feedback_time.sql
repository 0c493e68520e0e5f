-- Predictions and feedback each have an event time of their own; watermark_ms is that of predictions.
ALTER TABLE progress ADD COLUMN feedback_ms bigint NOT NULL DEFAULT 0;
