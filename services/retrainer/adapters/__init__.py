"""Where the ports meet PostgreSQL, Parquet, MLflow and child processes."""
