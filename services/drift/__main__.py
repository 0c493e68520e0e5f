"""`python -m services.drift {ingest,judge,reset,rebuild}`."""

import argparse
import asyncio
import sys

from libs.common.errors import Misconfigured, TrimtabError
from libs.common.lifecycle import refuse, run
from libs.common.partitions.reset import add_verbs, explain, wish_of
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.drift import bootstrap
from services.drift.config import IngestConfig, JudgeConfig


def main(words: list[str] | None = None) -> int:
    """Run one of the two processes until SIGTERM, or a command, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.drift", description=__doc__)
    verbs = parser.add_subparsers(dest="process", required=True)
    for name in ("ingest", "judge"):
        verbs.add_parser(name, help="run this process until SIGTERM")
    add_verbs(verbs)
    arguments = parser.parse_args(words)
    try:
        if arguments.process == "judge":
            judge_config = load(JudgeConfig)
            return run(bootstrap.judge(judge_config), drain_deadline_ms=judge_config.drain_deadline_ms)
        ingest_config = load(IngestConfig)
        if arguments.process != "ingest":
            return _reset(ingest_config, arguments)
        return run(bootstrap.ingest(ingest_config), drain_deadline_ms=ingest_config.drain_deadline_ms)
    except Misconfigured as error:
        return refuse(error)


def _reset(config: IngestConfig, arguments: argparse.Namespace) -> int:
    configure(f"drift-{arguments.process}", config)
    try:
        numbers = asyncio.run(bootstrap.reset(config, wish_of(arguments)))
    except TrimtabError as error:
        print(explain(error), file=sys.stderr)
        return 2
    print(f"forgotten: partitions {numbers}; the next ingest that starts reads their log anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
