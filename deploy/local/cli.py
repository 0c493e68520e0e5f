"""The command line: up, down, status, demo, stack."""

import argparse
import os
import subprocess
import sys

from rich.console import Console

from deploy.local import beside, commands
from deploy.local.assembly import Wanted
from deploy.local.errors import StackError
from deploy.local.homes import open_home, trimtab_home
from deploy.local.running import INTERRUPTED
from deploy.local.session import is_running

DOES = "The embedded stack: Apache Kafka, PostgreSQL, MLflow and the services, on this machine."
EPILOG = """KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL and MLFLOW_TRACKING_URI in the environment replace the
embedded parts one by one. KAFKA_HOME names an installed Kafka, KAFKA_JARS a folder of its jars. TRIMTAB_HOME
names the folder for data and logs (.trimtab otherwise)."""
UP_VERBS = (("up", "start everything in the background"), ("supervise", ""))
PIPED_WIDTH = 140


def parser() -> argparse.ArgumentParser:
    """The command line as `--help` shows it."""
    top = argparse.ArgumentParser(prog="python -m deploy.local", description=DOES, epilog=EPILOG)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="{up,down,status,demo,stack}")
    for verb, shown in UP_VERBS:
        one = verbs.add_parser(verb, help=shown) if shown else verbs.add_parser(verb)
        one.add_argument("--parts-only", action="store_true", help="Kafka, PostgreSQL, MLflow; no services")
        one.add_argument("--no-mlflow", action="store_true", help="with --parts-only: without MLflow")
    verbs.add_parser("down", help="stop what `up` started")
    status = verbs.add_parser("status", help="what runs, where, with how much memory")
    status.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("demo", help="a fresh stack and the demo in it (takes its arguments)", add_help=False)
    stack = verbs.add_parser("stack", help="the parts in the foreground; after --, a command beside them")
    stack.add_argument("--mlflow", action="store_true", help="with MLflow")
    stack.add_argument("command", nargs="*", help="run this with the addresses in its environment")
    return top


def run(arguments: list[str], console: Console) -> int:
    """Carries out one command; its exit code."""
    told, rest = parser().parse_known_args(arguments)
    if rest and told.verb != "demo":
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    if told.verb == "demo" and {"-h", "--help"} & set(rest):
        return subprocess.call([sys.executable, "-m", "deploy.demo", "--help"])
    root = trimtab_home(os.environ)
    up_home, demo_home = commands.homes(root)
    if told.verb in ("up", "demo", "stack"):
        commands.clear_dead((up_home, demo_home), console)
    if told.verb == "demo":
        return beside.demo(up_home, demo_home, rest, console)
    if told.verb == "stack":
        home = open_home(root / "stack")
        return beside.stack(home, told.command, Wanted(mlflow=told.mlflow, services=False), console)
    if told.verb == "down":
        return commands.down(up_home, console)
    if told.verb == "status":
        # A demo is worth looking at too, unless what `up` started is there.
        shown = demo_home if is_running(demo_home) and not is_running(up_home) else up_home
        return commands.status(shown, told.json, console)
    if told.no_mlflow and not told.parts_only:
        parser().error("--no-mlflow needs --parts-only: the retrainer cannot do without MLflow")
    if told.verb == "supervise":
        return commands.supervise(up_home, Wanted(mlflow=not told.no_mlflow, services=not told.parts_only))
    return commands.up(up_home, [flag for flag in arguments if flag.startswith("--")], console)


def main() -> int:
    """Runs the command line; a StackError becomes a message and exit code 1, Ctrl-C exit code 130."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    try:
        return run(sys.argv[1:], console)
    except StackError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
