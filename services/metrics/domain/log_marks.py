"""Up to which moment the log is read: absence is evidence only of what was read."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogMark:
    """At this moment the log ended at these offsets, of all its partitions."""

    at_ms: int
    ends: Mapping[str, int]

    def is_covered(self, offsets: Mapping[str, int]) -> bool:
        """Return whether all that was in the log at that moment lies before these offsets."""
        return bool(self.ends) and all(offsets.get(place, 0) >= end for place, end in self.ends.items())


class LogMarks:
    """The latest mark that totals covered, and the one that is waited for: two, however far ingest lags."""

    def __init__(self) -> None:
        self._covered: LogMark | None = None
        self._awaited: LogMark | None = None

    @property
    def wants_another(self) -> bool:
        """Return whether none is waited for."""
        return self._awaited is None

    def note(self, mark: LogMark) -> None:
        """Wait for this mark."""
        self._awaited = mark

    def read_to_ms(self, offsets: Mapping[str, int]) -> int:
        """Return the latest known moment at which all that was in the log lies before these offsets, the
        totals' own; 0 when none is known."""
        if self._awaited is not None and self._awaited.is_covered(offsets):
            self._covered, self._awaited = self._awaited, None
        covered = self._covered is not None and self._covered.is_covered(offsets)
        return self._covered.at_ms if covered and self._covered is not None else 0
