"""`python -m services.metrics {ingest,judge,reset,rebuild}`."""

import argparse
import asyncio
import sys

from libs.common.errors import Misconfigured, TrimtabError
from libs.common.lifecycle import Stop, refuse, run
from libs.common.partitions.reset import add_verbs, explain, wish_of
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.metrics.config import MetricsSettings


async def _ingest(settings: MetricsSettings, stop: Stop) -> None:
    from services.metrics.bootstrap.ingest import run_ingest

    await run_ingest(settings, stop)


async def _judge(settings: MetricsSettings, stop: Stop) -> None:
    from services.metrics.bootstrap.judge import run_judge

    await run_judge(settings, stop)


PROCESSES = {"ingest": _ingest, "judge": _judge}
"""Each imports what it needs when it runs: a restart of ingest does not wait for the judge's formulas."""


def main(words: list[str] | None = None) -> int:
    """Run the process, or the command, that is named on the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.metrics", description="Trimtab metrics")
    verbs = parser.add_subparsers(dest="process", required=True)
    for name in sorted(PROCESSES):
        verbs.add_parser(name, help="run this process until SIGTERM")
    add_verbs(verbs)
    arguments = parser.parse_args(words)
    try:
        settings = load(MetricsSettings)
    except Misconfigured as error:
        return refuse(error)
    configure(f"metrics-{arguments.process}", settings)
    if arguments.process not in PROCESSES:
        return _reset(settings, arguments)
    process = PROCESSES[arguments.process]
    return run(lambda stop: process(settings, stop), drain_deadline_ms=settings.drain_deadline_ms)


def _reset(settings: MetricsSettings, arguments: argparse.Namespace) -> int:
    from services.metrics.bootstrap.reset import reset

    try:
        numbers = asyncio.run(reset(settings, wish_of(arguments)))
    except TrimtabError as error:
        print(explain(error), file=sys.stderr)
        return 2
    print(f"forgotten: partitions {numbers}; the next ingest that starts reads their log anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
