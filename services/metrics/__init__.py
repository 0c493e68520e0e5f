"""Works out, exactly and at any moment, whether a variant helps or harms; and advises.

Two processes: `python -m services.metrics ingest` (one per CPU) and `python -m services.metrics judge` (one
leads, the others stand by).

Owns: the PostgreSQL schema `metrics`: sums per partition, definitions as last heard, the judge's memory.
Reads: `exposures`, `conversions`, `experiments`.
Writes: `results`, `verdicts`, `alerts` (through the outbox), `dead-letters`.
Falls back to: nothing is lost while Kafka or PostgreSQL is away; results stay as they are until it is back,
and without fresh evidence there is no verdict.
"""
