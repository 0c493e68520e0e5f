"""`python -m services.metrics {ingest,judge,reset,rebuild}`."""

import argparse
import asyncio
import sys

from libs.common.errors import Misconfigured, TrimtabError
from libs.common.lifecycle import refuse, run
from libs.common.partitions.reset import add_verbs, explain, wish_of
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.metrics.bootstrap import reset, run_ingest, run_judge
from services.metrics.config import MetricsSettings

PROCESSES = {"ingest": run_ingest, "judge": run_judge}


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
    try:
        numbers = asyncio.run(reset(settings, wish_of(arguments)))
    except TrimtabError as error:
        print(explain(error), file=sys.stderr)
        return 2
    print(f"forgotten: partitions {numbers}; the next ingest that starts reads their log anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
