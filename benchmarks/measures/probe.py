"""`python -m benchmarks.measures.probe`: ingest as it ships, with a task beside it that is woken every 5 ms.

When it is woken late, something kept the event loop. Lateness of 10 ms and more goes to the file that
`PROBE_FILE` names, one JSON list a line: when it was woken (milliseconds since 1970), how late, and for how
much of that its thread had the processor: the rest is other programs' doing, or other threads'.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop, run, supervise
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

    async def probed(stop: Stop) -> None:
        await supervise(
            stop, ingest=run_ingest(settings, stop), probe=watch(Path(os.environ[VARIABLE]), stop)
        )

    return run(probed, drain_deadline_ms=settings.drain_deadline_ms)


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
