"""`python -m benchmarks.measures.folding`: holds what ingest holds of the records on its standard input.

Each frame is its length and (topic, partition, values) in msgpack. At the end of input it prints one line of
JSON: resident memory before the first record and after the last, and the results.
"""

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec.msgpack import Decoder

from benchmarks.measures.memory import LENGTH_BYTES
from benchmarks.world import Truth, definitions
from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.clock import SystemClock
from schemas.topics import UNIT_PARTITIONS
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from services.metrics.entrypoints.ingest import tune_collector


def main() -> None:
    """Fold everything, then say what it took."""
    clock = SystemClock()
    definitions_known = Definitions()
    for each in definitions(clock.now_ms()):
        definitions_known.keep(each)
    make = MetricsPartitions(definitions_known)
    partitions = [make(number, None) for number in range(UNIT_PARTITIONS)]
    tune_collector()
    before_bytes, events, spent_ms = resident_bytes(), 0, 0.0
    for topic, number, values in frames():
        now_ms = clock.now_ms()
        batch = Batch.of([Record(topic, number, 0, now_ms, None, value) for value in values])
        began_ms = clock.monotonic_ms()
        rejected = partitions[number].fold(topic, batch)
        spent_ms += clock.monotonic_ms() - began_ms
        if rejected:
            raise SystemExit(f"a record was refused: {rejected[0].reason}")
        events += len(values)
    del batch, values
    gc.collect()
    told = {
        "before_bytes": before_bytes,
        "after_bytes": resident_bytes(),
        "events": events,
        "seconds": spent_ms / 1_000,
        "result": results(partitions),
    }
    sys.stdout.write(json.dumps(told) + "\n")


def frames() -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield what comes on standard input."""
    decoder = Decoder(tuple[str, int, list[bytes]])
    while head := sys.stdin.buffer.read(LENGTH_BYTES):
        yield decoder.decode(sys.stdin.buffer.read(int.from_bytes(head, "big")))


def resident_bytes() -> int:
    """Return what this process has of its own, by the kernel: files that it maps are not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1_024 for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def results(partitions: list[MetricsPartition]) -> Truth:
    """Return what would be published, summed over the partitions."""
    found: dict[str, list[int]] = {}
    for row in (row for each in partitions for row in each.rows()):
        for variant in row.variants:
            sums = found.setdefault(f"{row.experiment_id}/{variant.variant}", [0, 0, 0, 0])
            sums[0] += variant.units
            sums[1] += variant.conversions
        for metric in row.metrics:
            sums = found[f"{row.experiment_id}/{metric.variant}"]
            sums[2] += metric.sums.total
            sums[3] += metric.sums.total_squares
    return {key: (sums[0], sums[1], sums[2], sums[3]) for key, sums in found.items()}


if __name__ == "__main__":
    main()
