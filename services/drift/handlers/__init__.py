"""One verb a file; they reach the world through ports alone."""
