"""One verb a file: what assignment does, in terms of its domain and ports."""
