"""`python -m services.retrainer worker`."""

import argparse
import sys

from libs.common.errors import Misconfigured
from libs.common.lifecycle import refuse, run
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.retrainer.bootstrap import run_worker
from services.retrainer.config import RetrainerSettings


def main() -> int:
    """Run the process that is named on the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.retrainer", description="Trimtab retrainer")
    parser.add_argument("process", choices=["worker"])
    parser.parse_args()
    try:
        settings = load(RetrainerSettings)
    except Misconfigured as error:
        return refuse(error)
    configure("retrainer", settings)
    return run(lambda stop: run_worker(settings, stop), drain_deadline_ms=settings.drain_deadline_ms)


if __name__ == "__main__":
    sys.exit(main())
