"""The Kafka edge: ports, and two implementations that keep the same promises."""
