"""Retrainer: answers degradations with a better version, and keeps who is in charge of each model.

Owns: model states (champion, challenger, quarantine), the log of which version was what when, retrainings.
Reads: degradations, retraining (requests and registrations), experiments (their ends), rollbacks; the
labelled examples under EXAMPLES_DIR.
Writes: retraining (each step), models, alerts; versions, aliases and runs in MLflow.
Falls back to: waiting with everything kept in PostgreSQL while MLflow, Kafka or the examples are away.
"""
