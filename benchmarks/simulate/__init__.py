"""The claims about the statistics, by simulation. `python -m benchmarks.simulate` writes them down."""
