"""`python -m benchmarks.measures.probe`: ingest as it ships, with a task beside it that is woken every 5 ms.

When it is woken late, something kept the event loop. Lateness of 10 ms and more goes to the file that
`PROBE_FILE` names, one JSON list a line: when it was woken (milliseconds since 1970), how late, and for how
much of that its thread had the processor: the rest is other programs' doing, or other threads'.

A free loop is not yet a line that goes on: it may wait for PostgreSQL or the broker. How long it was away
from the log each time, from the end of one fetch to the next, goes to a second file (`turns_beside`), how
long each publish took to a third (`publishes_beside`): a JSON list a line of when it ended, and its
milliseconds.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from libs.common.bus.kafka.consumer import KafkaConsumer
from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop, run, supervise
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.metrics.bootstrap.ground import UNIT_TOPICS
from services.metrics.bootstrap.ingest import run_ingest
from services.metrics.config import MetricsSettings

VARIABLE = "PROBE_FILE"
_CLOCK = SystemClock()
STEP_MS = 5
LEAST_MS = 10


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    settings = load(MetricsSettings)
    configure("metrics-ingest", settings)
    path = Path(os.environ[VARIABLE])

    async def probed(stop: Stop) -> None:
        await supervise(stop, ingest=run_ingest(settings, stop), probe=watch(path, stop))

    with publishes_beside(path).open("w") as publishes, turns_beside(path).open("w") as turns:
        time_publishes(publishes)
        time_turns(turns)
        return run(probed, drain_deadline_ms=settings.drain_deadline_ms)


def publishes_beside(path: Path) -> Path:
    """Return where the publishes are noted."""
    return path.with_suffix(".publishes.jsonl")


def turns_beside(path: Path) -> Path:
    """Return where it is noted how long the line was away from the log."""
    return path.with_suffix(".turns.jsonl")


def time_publishes(file: TextIO) -> None:
    """Let every publish of this process be noted."""
    publish = PostgresPartitionStore.publish

    async def timed(*given: Any) -> None:
        began_ms = _CLOCK.monotonic_ms()
        await publish(*given)
        _note(file, began_ms)

    PostgresPartitionStore.publish = timed  # type: ignore[method-assign, assignment]


def time_turns(file: TextIO) -> None:
    """Let the time between two fetches be noted, for consumers that read what units do."""
    fetch = KafkaConsumer.fetch
    ended_ms: dict[KafkaConsumer, float] = {}

    async def timed(consumer: KafkaConsumer, **given: Any) -> Any:
        if consumer in ended_ms:
            _note(file, ended_ms[consumer])
        found = await fetch(consumer, **given)
        if {each.topic for each in consumer.assignment()} >= set(UNIT_TOPICS):
            ended_ms[consumer] = _CLOCK.monotonic_ms()
        return found

    KafkaConsumer.fetch = timed  # type: ignore[method-assign, assignment]


def _note(file: TextIO, began_ms: float) -> None:
    file.write(json.dumps([_CLOCK.now_ms(), round(_CLOCK.monotonic_ms() - began_ms, 1)]) + "\n")
    file.flush()


async def watch(path: Path, stop: Stop) -> None:
    """Note how late one is woken, until `stop`."""
    with path.open("w") as file:
        while not stop.is_set():
            slept_ms, worked_s = _CLOCK.monotonic_ms(), time.thread_time()
            await asyncio.sleep(STEP_MS / 1_000)
            late_ms = _CLOCK.monotonic_ms() - slept_ms - STEP_MS
            if late_ms >= LEAST_MS:
                busy_ms = (time.thread_time() - worked_s) * 1_000
                file.write(json.dumps([_CLOCK.now_ms(), round(late_ms, 1), round(busy_ms, 1)]) + "\n")
                file.flush()


if __name__ == "__main__":
    sys.exit(main())
