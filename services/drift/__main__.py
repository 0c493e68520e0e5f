"""`python -m services.drift {ingest,judge}`."""

import argparse
import sys

from libs.common.errors import Misconfigured
from libs.common.lifecycle import refuse, run
from libs.common.settings import load
from services.drift import bootstrap
from services.drift.config import IngestConfig, JudgeConfig


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two processes until SIGTERM, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.drift", description=__doc__)
    parser.add_argument("process", choices=("ingest", "judge"))
    process = parser.parse_args(arguments).process
    try:
        if process == "ingest":
            ingest_config = load(IngestConfig)
            return run(bootstrap.ingest(ingest_config), drain_deadline_ms=ingest_config.drain_deadline_ms)
        judge_config = load(JudgeConfig)
        return run(bootstrap.judge(judge_config), drain_deadline_ms=judge_config.drain_deadline_ms)
    except Misconfigured as error:
        return refuse(error)


if __name__ == "__main__":
    sys.exit(main())
