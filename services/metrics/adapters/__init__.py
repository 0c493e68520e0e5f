"""Where metrics meets PostgreSQL."""
