"""The rules of an experiment's life. Pure: same inputs, same answer."""
