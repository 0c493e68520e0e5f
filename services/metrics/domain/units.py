"""What is remembered of one unit. Plain objects with slots and no cycles: there may be a million."""

from typing import NamedTuple

from services.metrics.domain.tallies import VariantTally

MAX_WINDOW_MS = 366 * 24 * 60 * 60 * 1_000
"""The longest window that a metric may have: the limit of `schemas.names.DurationMs`."""


class StoredConversion(NamedTuple):
    """One distinct conversion of a unit. Its event id is the key under which it is kept."""

    at_ms: int
    name: str
    micro: int
    """The value in micro-units."""


class Enrolment:
    """One unit in one experiment: the first exposure is the smallest (event time, event id)."""

    __slots__ = ("at_ms", "crossed", "first_id", "home", "others", "values")

    def __init__(self, at_ms: int, first_id: str, home: VariantTally) -> None:
        self.at_ms = at_ms
        self.first_id = first_id
        self.home = home
        """The variant of the first exposure; where the unit is counted."""
        self.others: set[str] | None = None
        """Event ids of the other exposures."""
        self.crossed = False
        """Seen in two variants: counted apart, in neither. It never returns."""
        self.values: list[int] | None = None
        """Per metric of the plan: the unit's value y in micro-units, then the number of conversions in it."""

    def knows(self, event_id: str) -> bool:
        """Return whether this exposure was taken in before."""
        return event_id == self.first_id or (self.others is not None and event_id in self.others)

    def may_count(self, at_ms: int) -> bool:
        """Return whether a conversion of that time lies in the longest window there may be."""
        return not self.crossed and 0 <= at_ms - self.at_ms <= MAX_WINDOW_MS

    def remember(self, event_id: str, limit: int) -> bool:
        """Remember another exposure. Returns False when the limit is reached."""
        if self.others is None:
            self.others = set()
        if len(self.others) + 1 >= limit:
            return False
        self.others.add(event_id)
        return True


class Unit:
    """Everything about one unit in one partition."""

    __slots__ = ("ceiling", "conversions", "enrolments", "latest_ms")

    def __init__(self) -> None:
        self.enrolments: dict[str, Enrolment] = {}
        self.conversions: dict[str, StoredConversion] | None = None
        """By event id."""
        self.latest_ms = 0
        """The latest event time of its conversions, kept or not."""
        self.ceiling: tuple[int, str] | None = None
        """Once the limit of conversions is reached: (event time, event id) of the last one that is kept."""

    def forget_useless(self, oldest_ms: int) -> None:
        """Drop conversions before `oldest_ms` that no enrolment can count. One that comes again is stored
        again, counts for nothing again, and is dropped at the next sweep."""
        kept = self.conversions or {}
        useless = [
            key
            for key, each in kept.items()
            if each.at_ms < oldest_ms and not any(e.may_count(each.at_ms) for e in self.enrolments.values())
        ]
        for key in useless:
            del kept[key]
        if useless:
            self.conversions = kept or None
            self.ceiling = None
