"""`python -m services.gateway http`."""

import argparse
import sys

from libs.common.errors import Misconfigured
from libs.common.lifecycle import refuse, run
from libs.common.settings import load
from libs.common.telemetry.setup import configure
from services.gateway.bootstrap import run_http
from services.gateway.config import GatewaySettings


def main() -> int:
    """Run the process that is named on the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway", description="Trimtab gateway")
    parser.add_argument("process", choices=["http"])
    parser.parse_args()
    try:
        settings = load(GatewaySettings)
    except Misconfigured as error:
        return refuse(error)
    configure("gateway", settings)
    return run(lambda stop: run_http(settings, stop), drain_deadline_ms=settings.drain_deadline_ms)


if __name__ == "__main__":
    sys.exit(main())
