"""Where the bodies of snapshots lie when they do not lie in the catalogue's own table."""
