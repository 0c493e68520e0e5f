"""What metrics knows without reaching for anything: the join, the sums, the rules of evidence."""
