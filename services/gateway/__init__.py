"""Gateway: shows and tells. The one HTTP API for people and programs outside.

Owns: nothing that lasts; its views are rebuilt from the bus at every start.
Reads: experiments, results, verdicts, rollbacks, model-health, alerts, retraining, models.
Writes: exposures, predictions, conversions, feedback (on behalf of callers), retraining (requests).
Falls back to: 503 with Retry-After while the bus is away (events), the last known views (reading).
"""
