"""What the Python peers share: the terms of the job, a stop-watch, and the join itself on plain dicts."""

import json
import os
import sys
import time

SERVERS = os.environ["BENCH_SERVERS"]
GROUP = os.environ["BENCH_GROUP"]
EXPOSURES = os.environ["BENCH_EXPOSURES"]
CONVERSIONS = os.environ["BENCH_CONVERSIONS"]
EVENTS = int(os.environ["BENCH_EVENTS"])
WINDOW_MS = int(os.environ["BENCH_WINDOW_MS"])


class Watch:
    """Counts records; knows when the first, the middle and the last came."""

    def __init__(self):
        self.seen = 0
        self._first = self._half = self._half_seen = 0.0

    def count(self, records=1):
        """Returns True with the last record."""
        if not self.seen:
            self._first = time.perf_counter()
        self.seen += records
        if not self._half and 2 * self.seen >= EVENTS:
            self._half, self._half_seen = time.perf_counter(), self.seen
        return self.seen >= EVENTS

    def report(self, result):
        now = time.perf_counter()
        line = {
            "events": self.seen,
            "seconds": now - self._first,
            "half_events": self.seen - self._half_seen,
            "half_seconds": now - self._half,
            "result": result,
        }
        print(json.dumps(line))
        sys.stdout.flush()


def new_unit():
    """The state of a unit: per experiment [first exposure, variant, crossed, conversions, total], and its
    conversions by event id."""
    return {"e": {}, "c": {}}


def expose(unit, event):
    """Take an exposure into a unit's state; return what changes: (variant's key, units, conversions, sum,
    squares)."""
    name, at, variant = event["experiment_id"], event["occurred_at_ms"], event["variant"]
    known = unit["e"].get(name)
    if known is None:
        unit["e"][name] = entry = enrol(unit, at, variant)
        return [change(name, entry, 1)]
    if known[2]:
        return ()
    if variant != known[1]:
        known[2] = True
        return [change(name, known, -1)]
    if at >= known[0]:
        return ()
    unit["e"][name] = entry = enrol(unit, at, variant)
    return [change(name, known, -1), change(name, entry, 1)]


def convert(unit, event):
    """Take a conversion into a unit's state; return what changes."""
    event_id = event["event_id"]
    if event_id in unit["c"]:
        return ()
    at, micro = event["occurred_at_ms"], round(event["value"] * 1_000_000)
    unit["c"][event_id] = (at, micro)
    changes = []
    for name, entry in unit["e"].items():
        if not entry[2] and 0 <= at - entry[0] <= WINDOW_MS:
            before = entry[4]
            entry[3] += 1
            entry[4] = after = before + micro
            changes.append((f"{name}/{entry[1]}", 0, 1, micro, after * after - before * before))
    return changes


def enrol(unit, at, variant):
    counted = [micro for when, micro in unit["c"].values() if 0 <= when - at <= WINDOW_MS]
    return [at, variant, False, len(counted), sum(counted)]


def change(name, entry, sign):
    _, variant, _, conversions, total = entry
    return f"{name}/{variant}", sign, sign * conversions, sign * total, sign * total * total


class Totals(dict):
    """Per variant: units, conversions, sum, sum of squares."""

    def apply(self, changes):
        for key, *deltas in changes:
            known = self.get(key)
            if known is None:
                known = self[key] = [0, 0, 0, 0]
            for index, delta in enumerate(deltas):
                known[index] += delta
