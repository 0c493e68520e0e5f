"""Logs, traces, Prometheus and the health of a process."""
