"""`python -m benchmarks.measure`: what is promised besides throughput, measured, beside its limits."""

import argparse
import asyncio
import os
import platform
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.measures import latency, memory, pauses, poison, restart, rollback, workers
from benchmarks.measures.figures import Figure, table
from benchmarks.measures.ground import Ground
from benchmarks.measures.waits import NotMeasured
from benchmarks.run import say

Measure = Callable[[Ground], Awaitable[list[Figure]]]

MEASURES: dict[str, Measure] = {
    "memory": memory.measure,
    "restart": restart.measure,
    "pauses": pauses.measure,
    "latency": latency.measure,
    "rollback": rollback.measure,
    "poison": poison.measure,
    "workers": workers.measure,
}


def main() -> None:
    """Measure what the command line asks for and print the table."""
    options = _options()
    chosen = options.only.split(",") if options.only else list(MEASURES)
    unknown = [each for each in chosen if each not in MEASURES]
    if unknown:
        raise SystemExit(f"--only: no measurement {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    logs = Path(options.logs or tempfile.mkdtemp(prefix="measure-logs-"))
    logs.mkdir(parents=True, exist_ok=True)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    say(f"Python {platform.python_version()}; {cores} cores; load when it began {load:.1f}; logs in {logs}")
    with tempfile.TemporaryDirectory(prefix="measure-") as homes:
        say("\n" + table(asyncio.run(_run(chosen, options.scale, logs, Path(homes)))))


async def _run(chosen: list[str], scale: float, logs: Path, homes: Path) -> list[Figure]:
    figures: list[Figure] = []
    async with AsyncExitStack() as undo:
        ground = Ground(scale, logs, homes, undo)
        for name in chosen:
            say(f"\n{name} (load {os.getloadavg()[0]:.1f})")
            try:
                found = await MEASURES[name](ground)
            except NotMeasured as error:
                found = [Figure(name, str(error), kept=False)]
            figures += found
            say("\n".join(f"  {each.measurement}: {each.figure}" for each in found))
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size: 0.05 for a look")
    parser.add_argument("--logs", default="", help="where the processes' logs go (default: a new folder)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
