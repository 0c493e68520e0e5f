"""What became of events that changed nothing: counted, ignored, and said."""

from dataclasses import dataclass, fields

NOT_EVENTS = frozenset({"swept_units", "evicted_experiments", "dropped_experiments"})
"""Counts of other things than events."""


@dataclass(slots=True)
class Outcomes:
    """Counts since the process started, over all its partitions. Replays count again."""

    duplicates: int = 0
    """Event ids that were there already."""
    too_old: int = 0
    """Events that lie more than a year behind their records: no window reaches so far."""
    after_end: int = 0
    """Exposures to an experiment whose windows are over."""
    over_units: int = 0
    """Events of units beyond `IngestLimits.units`; and so on."""
    over_experiments: int = 0
    over_variants: int = 0
    over_exposures: int = 0
    over_conversions: int = 0
    swept_units: int = 0
    """Units forgotten: conversions, but no exposure within the lateness."""
    evicted_experiments: int = 0
    """Experiments that nobody defined, forgotten to make room for others."""
    dropped_experiments: int = 0
    """Experiments that ended, forgotten after their windows; what was published of them stays."""

    def ignored(self) -> dict[str, int]:
        """Return how many events counted for nothing, by reason."""
        counts = {each.name: int(getattr(self, each.name)) for each in fields(self)}
        return {name: count for name, count in counts.items() if name not in NOT_EVENTS}

    def over_limits(self) -> dict[str, int]:
        """Return the counts of events that met a limit, without those that are 0."""
        return {name: n for name, n in self.ignored().items() if n and name.startswith("over_")}
