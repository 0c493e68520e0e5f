"""PostgreSQL: the pool, the outbox, the migrations."""
