"""How metrics is set going: the line of ingest, the worker of the judge."""
