"""Exact state per partition: leases, fenced writes, snapshots, replay."""
