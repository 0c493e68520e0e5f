"""The embedded stack: Apache Kafka, PostgreSQL, MLflow and Trimtab's services as supervised processes.

`python -m deploy.local up` for people, `deploy.local.stack.LocalStack` for tests.
"""
