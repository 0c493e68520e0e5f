"""`trimtab audit EXPERIMENT [--json]`: the operator's command. It runs the service's own program, with the
addresses of the stack that runs here unless the environment names others."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from deploy.local.homes import CHECKOUT, Home, trimtab_home
from deploy.local.session import is_running
from deploy.local.state import read_record

PROGRAMS: Mapping[str, str] = {"audit": "services.metrics.audit"}
ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
USAGE = """usage: trimtab audit EXPERIMENT [--json]

  audit   recompute an experiment's numbers from the log and compare them to the last digit

What runs here, and where: make status"""
NO_STACK = """trimtab: {missing}: not set, and no stack runs here
next: start one (make up), or set {missing}"""
EXIT_CANNOT = 2
EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command line and return its exit code."""
    return run(sys.argv[1:], os.environ)


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command: its own exit code; 2 for an unknown one, and where there is nothing to connect to."""
    if not arguments or arguments[0] not in PROGRAMS:
        wanted_help = list(arguments[:1]) in (["-h"], ["--help"])
        (sys.stdout if wanted_help else sys.stderr).write(f"{USAGE}\n")
        return 0 if wanted_help else EXIT_CANNOT
    surroundings = with_addresses(environment)
    missing = [name for name in ADDRESSES if not surroundings.get(name)]
    if missing and not {"-h", "--help"} & set(arguments):
        sys.stderr.write(NO_STACK.format(missing=" and ".join(missing)) + "\n")
        return EXIT_CANNOT
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [surroundings.get("PYTHONPATH")])])
    command = [sys.executable, "-m", PROGRAMS[arguments[0]], *arguments[1:]]
    try:
        code = subprocess.run(command, env={**surroundings, "PYTHONPATH": path}, check=False).returncode  # noqa: S603 - our own program
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code if code >= 0 else 128 - code


def with_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, completed by the addresses of the stack that `make up` or `make demo` runs.

    Kafka and PostgreSQL are taken from the same place: where the environment names one of them, the stack's
    other is not mixed in.
    """
    if any(environment.get(name) for name in ADDRESSES):
        return dict(environment)
    root = trimtab_home(environment)
    for home in (Home(root / "up"), Home(root / "demo")):
        record = read_record(home.state_file) if is_running(home) else None
        if record is not None:
            return {**environment, **record.addresses}
    return dict(environment)


if __name__ == "__main__":
    sys.exit(main())
