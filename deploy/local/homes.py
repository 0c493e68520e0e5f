"""Where the stack keeps its files: everything of one stack under one folder, the jars in a cache per user."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError

CHECKOUT = Path(__file__).resolve().parents[2]
ANOTHER = "Name another folder: TRIMTAB_HOME=/path/to/a/folder"
PASSABLE = 0o711  # under root, PostgreSQL runs as another user, who has to get through to its data
FREE_BYTES_NEEDED = 1 << 30  # Kafka and PostgreSQL preallocate; a full disk shows as corrupt data otherwise


@dataclass(frozen=True)
class Home:
    """The folder of one stack. Two stacks with different homes share nothing but the jar cache."""

    root: Path

    @property
    def logs(self) -> Path:
        """Folder of `<part>.log` and of the combined `all.log`."""
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        """What runs, written by the supervisor at every change."""
        return self.root / "state.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    def folder(self, name: str, mode: int = 0o700) -> Path:
        """A subfolder, made on first use, for this user alone unless `mode` says otherwise."""
        path = self.root / name
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        return path


def trimtab_home(environment: Mapping[str, str]) -> Path:
    """`TRIMTAB_HOME`, else `.trimtab` in the checkout (in the current folder for an installed package)."""
    named = environment.get("TRIMTAB_HOME")
    if named:
        return Path(named).expanduser().resolve()
    base = CHECKOUT if (CHECKOUT / "pyproject.toml").exists() else Path.cwd()
    return base / ".trimtab"


def open_home(root: Path) -> Home:
    """Makes the folder and checks that it can be used; raises StackError when it cannot."""
    try:
        root.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise StackError(
            f"Cannot use the folder {root}: {error.strerror}.",
            ANOTHER,
        ) from error
    if not os.access(root, os.W_OK):
        raise StackError(f"No permission to write in {root}.", ANOTHER)
    if free < FREE_BYTES_NEEDED:
        raise StackError(
            f"Only {free >> 20} MB free where {root} lies; the stack needs {FREE_BYTES_NEEDED >> 20} MB.",
            "Free some disk space, or name a folder on another disk: TRIMTAB_HOME=/path/to/a/folder",
        )
    return Home(root)


def jar_cache(environment: Mapping[str, str], home: Home) -> Path:
    """The user's cache of Kafka's jars; in the stack's own folder where the user has no writable cache."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(environment.get("HOME") or "~", ".cache")
    cache = Path(base).expanduser() / "trimtab" / "kafka"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return home.folder("cache")
    return cache if os.access(cache, os.W_OK) else home.folder("cache")
