"""drift: has the world moved away from what a model learnt, and does the model answer worse for it?

Owns:          windows of predictions per model version, reference profiles where none was registered, episodes
               of drift and of lost performance; the dataset of labelled examples (EXAMPLES_DIR)
Reads:         predictions, feedback (ingest); models (judge)
Writes:        model-health, alerts, degradations; Parquet files of labelled examples
Falls back to: no reference profile: the first predictions in production are taken as one, unjudged;
               no labels: performance is "unknown", drift alone raises alerts and wakes nobody;
               no evidence: "insufficient", never an alarm
"""
