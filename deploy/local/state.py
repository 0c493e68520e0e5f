"""What a stack writes down about itself: enough to show it, to stop it, and to clear up after a crash."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FORMAT = 1


@dataclass(frozen=True)
class PartRecord:
    """One part. `start_mark` tells its process from a later one with the same `pid` (0: no process)."""

    name: str
    address: str
    state: str
    pid: int = 0
    start_mark: str = ""
    stop_signal: int = 15
    starts: int = 0
    ready_after_s: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class StackRecord:
    """One stack: its supervisor, its parts, and the variables that tell a client where they are."""

    phase: str
    supervisor_pid: int
    supervisor_mark: str
    parts: tuple[PartRecord, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def as_text(record: StackRecord) -> str:
    """The record as JSON."""
    return json.dumps({"format": FORMAT} | asdict(record), indent=1)


def from_text(text: str) -> StackRecord | None:
    """The record, or None when this version does not understand the text."""
    try:
        told = json.loads(text)
        if told.pop("format") != FORMAT:
            return None
        parts = tuple(PartRecord(**part) for part in told.pop("parts"))
        return StackRecord(parts=parts, **told)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(path: Path, record: StackRecord) -> None:
    """Replaces the file as a whole, so nobody reads half of it; for this user alone: it holds a password."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(as_text(record))
    fresh.replace(path)


def read_record(path: Path) -> StackRecord | None:
    """The record in the file, or None when there is none that this version understands."""
    try:
        return from_text(path.read_text())
    except (OSError, UnicodeDecodeError):
        return None
