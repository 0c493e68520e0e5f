"""The ports, kept: by PostgreSQL and the bus in production, by memory in tests."""
