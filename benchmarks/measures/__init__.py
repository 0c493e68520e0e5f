"""What else the product promises of its speed, each measured by itself: one file a measurement."""
