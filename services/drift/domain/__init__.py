"""Pure: windows, joins, verdicts. No Kafka, no database, no clock."""
