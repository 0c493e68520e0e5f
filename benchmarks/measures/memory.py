"""Bytes per unit and experiment: a process that holds a million units, seen by the kernel.

The child holds the product's own state and nothing else; the log is made in other processes.
"""

import json
import subprocess
import sys

from msgspec.msgpack import Encoder

from benchmarks.measures.figures import Figure, exactness
from benchmarks.measures.ground import Ground
from benchmarks.measures.slices import SLICE_UNITS, Slice, slices, total
from benchmarks.outcome import differences, truth_from
from benchmarks.pinned import ROOT
from benchmarks.world import EXPERIMENTS

UNITS = 1_000_000
LIMIT_BYTES = 400
LENGTH_BYTES = 8
BATCH = 24_000
"""Records folded at a time, as many as ingest fetches."""


async def measure(ground: Ground) -> list[Figure]:
    """Fold the log into a fresh process and ask what that took."""
    truths = []
    command = [sys.executable, "-m", "benchmarks.measures.folding"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:  # noqa: ASYNC220, S603
        assert child.stdin is not None
        assert child.stdout is not None
        for each in slices(int(UNITS * ground.scale), ground.day_ms):
            for frame in _frames(each):
                child.stdin.write(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)
            truths.append(each.truth)
        child.stdin.close()
        told = json.loads(child.stdout.readline())
    grown, units = told["after_bytes"] - told["before_bytes"], len(truths) * SLICE_UNITS
    each_bytes = grown / (units * len(EXPERIMENTS))
    return [
        Figure(
            f"memory per unit and experiment ({units:,} units, {len(EXPERIMENTS)} experiments, "
            f"{told['events'] / units:.0f} events a unit)",
            f"{each_bytes:.0f} bytes ({grown / 2**20:,.0f} MiB in all)",
            f"at most {LIMIT_BYTES} bytes",
            each_bytes <= LIMIT_BYTES,
        ),
        Figure("- of a process with nothing in it", f"{told['before_bytes'] / 2**20:.0f} MiB"),
        Figure("- folded, with one core", f"{told['events'] / told['seconds'] / 1_000:.0f} k events/s"),
        exactness(differences(total(truths), truth_from(told["result"]))),
    ]


_encoder = Encoder()


def _frames(part: Slice) -> list[bytes]:
    """Return batches of a slice, exposures and conversions in turn as the log has them."""
    frames = []
    for start in range(0, max(map(len, part.records.values())), BATCH):
        for (topic, number), records in sorted(part.records.items()):
            values = [value for _, value in records[start : start + BATCH]]
            if values:
                frames.append(_encoder.encode((topic, number, values)))
    return frames
