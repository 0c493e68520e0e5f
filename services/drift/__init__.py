"""Has the world moved away from what a model learnt, and does the model answer worse for it?

Two processes: `python -m services.drift ingest` (one per CPU) and `python -m services.drift judge` (one
leads, the others stand by).

Owns: the PostgreSQL schema `drift`: windows of predictions per model version, reference profiles where none
was registered, episodes; and the dataset of labelled examples (EXAMPLES_DIR).
Reads: `predictions`, `feedback` (ingest), `models` (judge).
Writes: `model-health`, `alerts`, `degradations` (through the outbox), `dead-letters`; Parquet files.
Falls back to: no reference profile: the first predictions in production become one, unjudged; no labels:
performance is unknown, drift alone raises alerts and wakes nobody; no evidence: "insufficient", no alarm.
"""
