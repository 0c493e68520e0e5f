"""One verb a file: what the retrainer does when something happens."""
