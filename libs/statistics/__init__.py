"""Everything that is a formula: pure numpy and scipy, usable from a notebook."""
