"""Programs that come inside packages: whether they run on this machine at all."""

import subprocess

from deploy.local.errors import StackError

TIMEOUT_S = 60


def check_runs(command: tuple[str, ...], package: str, variable: str) -> None:
    """Runs a program's version command; StackError names the package when it does not run here."""
    otherwise = (
        f"Reinstall {package} for this machine's architecture, or name a running server: {variable}=..."
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(
            f"The program {command[0]} of the package {package} does not run: {error}.", otherwise
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise StackError(
            f"The program {command[0]} of the package {package} does not run here: {said}", otherwise
        )
