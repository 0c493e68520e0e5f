"""The processes: the Faust worker, and its two kinds of children."""
