"""The log of quarantines: which version was put in or taken out, by whom, when and why. Append-only."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.assignment.domain.life import Note


class QuarantineAct(StrEnum):
    """What was done to a version."""

    QUARANTINED = "quarantined"
    LIFTED = "lifted"


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One line of the log. `occurred_at_ms`: milliseconds since 1970."""

    model: str
    version: str
    act: QuarantineAct
    by: str
    reason: str
    occurred_at_ms: int


def entries(
    model: str, versions: Iterable[str], act: QuarantineAct, note: Note
) -> tuple[QuarantineEntry, ...]:
    """Return one entry for each version."""
    return tuple(
        QuarantineEntry(model, version, act, note.by, note.reason, note.now_ms) for version in versions
    )
