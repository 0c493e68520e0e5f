"""`python -m deploy.demo`: play the three acts against a running stack."""

import argparse
import os
import sys
import time

from rich.console import Console

from deploy.demo.acts import act_a, act_b, act_c, offline
from deploy.demo.api import ActFailed, Api
from deploy.demo.closing import close
from deploy.demo.ledger import Ledger
from deploy.demo.offline import MODEL
from deploy.demo.screen import Screen
from deploy.demo.traffic import Plan, Traffic
from deploy.demo.watch import Stage
from trimtab import Trimtab

NEEDED = ("GATEWAY_URL", "ASSIGNMENT_URL", "MLFLOW_TRACKING_URI")


def main() -> int:
    """Play; return 0 when every act achieved what it announced, 1 with the reason when one did not."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        console.print(f"set {', '.join(missing)}, or start everything with `make demo`")
        return 2
    try:
        return _play(arguments, Screen(console))
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit after the closing table")
    parser.add_argument("--rate", type=float, default=500.0, help="events per second (default 500)")
    parser.add_argument("--units", type=int, default=50_000, help="size of the population (default 50000)")
    parser.add_argument("--seed", type=int, default=7, help="of the population's behaviour (default 7)")
    return parser.parse_args()


def _play(arguments: argparse.Namespace, screen: Screen) -> int:
    gateway_url, mlflow_url = os.environ["GATEWAY_URL"], os.environ["MLFLOW_TRACKING_URI"]
    ledger = Ledger()
    client = Trimtab(
        gateway_url=gateway_url, assignment_url=os.environ["ASSIGNMENT_URL"], on_accepted=ledger.accepted
    )
    plan = Plan(MODEL, mlflow_url, arguments.rate, arguments.units, arguments.seed)
    traffic = Traffic(client, plan)

    def still_well() -> None:
        if traffic.error is not None:
            raise ActFailed(f"the traffic program failed: {traffic.error!r}")

    stage = Stage(Api(gateway_url, still_well), traffic, screen, [])
    failed = False
    with client:
        try:
            with screen.progress(lambda: _progress(traffic, ledger, screen)):
                versions = offline(screen)
                act_a(stage, versions)
                version = act_b(stage, versions["champion"])
                act_c(stage, version)
                close(stage, client, ledger)
        except ActFailed as error:
            screen.console.print(f"[bold red]The demo failed:[/] {error}")
            failed = True
        _addresses(screen, gateway_url, mlflow_url)
        if not failed and not arguments.once:
            _keep_running(stage, ledger)
        traffic.stop()
    return 1 if failed else 0


def _progress(traffic: Traffic, ledger: Ledger, screen: Screen) -> str:
    versions = "  ".join(
        f"v{version} {accuracy:.0%} right"
        for version, recent in sorted(traffic.recent.items())
        if (accuracy := recent.accuracy()) is not None
    )
    return f"{screen.at_s():6.1f} s  {ledger.events():,} events accepted  {versions}"


def _addresses(screen: Screen, gateway_url: str, mlflow_url: str) -> None:
    screen.addresses(
        {
            "the API, to try out": f"{gateway_url}/docs",
            "experiments": f"{gateway_url}/v1/experiments",
            "the model, its health, its retrainings": f"{gateway_url}/v1/models/{MODEL}",
            "alerts": f"{gateway_url}/v1/alerts",
            "live changes": f"curl -N {gateway_url}/v1/stream",
            "model versions": f"{mlflow_url}/#/models/{MODEL}",
        }
    )


def _keep_running(stage: Stage, ledger: Ledger) -> None:
    stage.screen.say("traffic goes on until you press Ctrl-C")
    stage.traffic.resume()
    with stage.screen.progress(lambda: _progress(stage.traffic, ledger, stage.screen)):
        while stage.traffic.error is None:
            time.sleep(0.5)
    raise ActFailed(f"the traffic program failed: {stage.traffic.error!r}")


if __name__ == "__main__":
    sys.exit(main())
