"""Buses, pools and clocks: it never speaks of experiments."""
