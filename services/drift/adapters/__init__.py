"""PostgreSQL, Parquet and river, behind the ports."""
