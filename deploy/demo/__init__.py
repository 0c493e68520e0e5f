"""The demo: the whole loop on real data, in three acts."""
