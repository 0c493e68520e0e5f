"""`python -m services.metrics {ingest,judge}`."""

import argparse
import sys

from libs.common.errors import Misconfigured
from libs.common.lifecycle import refuse, run
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.metrics.bootstrap import run_ingest, run_judge
from services.metrics.config import MetricsSettings

PROCESSES = {"ingest": run_ingest, "judge": run_judge}


def main() -> int:
    """Run the process that is named on the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.metrics", description="Trimtab metrics")
    parser.add_argument("process", choices=sorted(PROCESSES))
    process = parser.parse_args().process
    try:
        settings = load(MetricsSettings)
    except Misconfigured as error:
        return refuse(error)
    configure(f"metrics-{process}", settings)
    return run(lambda stop: PROCESSES[process](settings, stop), drain_deadline_ms=settings.drain_deadline_ms)


if __name__ == "__main__":
    sys.exit(main())
