"""What metrics does, one verb a file."""
