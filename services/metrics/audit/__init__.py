"""`trimtab audit EXPERIMENT`: recomputes what ingest has published from the log, in a second, simple way, and
compares it to the last digit. Shares nothing with ingest but `schemas`, so that the two cannot be wrong
together."""
