"""The contracts: every event on the bus, its limits, and the topics that carry it."""
