"""Puts the processes together, each in a module of its own: neither imports what only the other needs, and
the formulas of the judge alone take seconds to import."""
