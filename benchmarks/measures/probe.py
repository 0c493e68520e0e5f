"""`python -m benchmarks.measures.probe`: ingest as it ships, with a task beside it that is woken every 5 ms.

When it is woken late, something kept the event loop. Lateness of 10 ms and more goes to the file that
`PROBE_FILE` names, one JSON list a line: when it was woken (milliseconds since 1970), how late, and for how
much of that its thread had the processor: the rest is other programs' doing, or other threads'.

The loop is free while rows are on their way to PostgreSQL, and the line waits for them: how long each of
these took goes to a second file, see `publishes_beside`.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop, run, supervise
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.metrics.bootstrap.ingest import run_ingest
from services.metrics.config import MetricsSettings

VARIABLE = "PROBE_FILE"
STEP_MS = 5
LEAST_MS = 10


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    settings = load(MetricsSettings)
    configure("metrics-ingest", settings)
    path = Path(os.environ[VARIABLE])

    async def probed(stop: Stop) -> None:
        await supervise(stop, ingest=run_ingest(settings, stop), probe=watch(path, stop))

    with publishes_beside(path).open("w") as file:
        time_publishes(file)
        return run(probed, drain_deadline_ms=settings.drain_deadline_ms)


def publishes_beside(path: Path) -> Path:
    """Return where the publishes are noted: a JSON list a line of when one ended, and its milliseconds."""
    return path.with_suffix(".publishes.jsonl")


def time_publishes(file: TextIO) -> None:
    """Let every publish of this process be noted."""
    clock, publish = SystemClock(), PostgresPartitionStore.publish

    async def timed(*given: Any) -> None:
        began_ms = clock.monotonic_ms()
        await publish(*given)
        file.write(json.dumps([clock.now_ms(), round(clock.monotonic_ms() - began_ms, 1)]) + "\n")
        file.flush()

    PostgresPartitionStore.publish = timed  # type: ignore[method-assign, assignment]


async def watch(path: Path, stop: Stop) -> None:
    """Note how late one is woken, until `stop`."""
    clock = SystemClock()
    with path.open("w") as file:
        while not stop.is_set():
            slept_ms, worked_s = clock.monotonic_ms(), time.thread_time()
            await asyncio.sleep(STEP_MS / 1_000)
            late_ms = clock.monotonic_ms() - slept_ms - STEP_MS
            if late_ms >= LEAST_MS:
                busy_ms = (time.thread_time() - worked_s) * 1_000
                file.write(json.dumps([clock.now_ms(), round(late_ms, 1), round(busy_ms, 1)]) + "\n")
                file.flush()


if __name__ == "__main__":
    sys.exit(main())
