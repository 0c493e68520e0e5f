"""PostgreSQL: pools, migrations, and the outbox that makes state and its event commit together."""
