"""`trimtab audit EXPERIMENT`: recomputes what ingest has published from the log, in a second, simple way, and
compares it to the last digit. Of the product it shares with ingest the contracts (`schemas`) and what
carries records and rows (`libs.common`), and no rule or formula: neither the rest of metrics nor
`libs.statistics`. So the two cannot be wrong together; import-linter keeps it so."""
