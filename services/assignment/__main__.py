"""`python -m services.assignment http`."""

import argparse
import sys

from libs.common.errors import Misconfigured
from libs.common.lifecycle import refuse, run
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.assignment.bootstrap import run_http
from services.assignment.config import AssignmentSettings


def main() -> int:
    """Run the process that is named on the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.assignment", description="Trimtab assignment")
    parser.add_argument("process", choices=["http"])
    parser.parse_args()
    try:
        settings = load(AssignmentSettings)
    except Misconfigured as error:
        return refuse(error)
    configure("assignment", settings)
    return run(lambda stop: run_http(settings, stop), drain_deadline_ms=settings.drain_deadline_ms)


if __name__ == "__main__":
    sys.exit(main())
