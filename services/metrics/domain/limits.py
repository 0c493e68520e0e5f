"""Limits on everything that grows in a partition's memory, each with what happens at it.

Bounded by number: units, experiments, and per unit its exposures and conversions. Bounded by time
(by that of the events, as far as both topics have been read): conversions that no window can hold any more,
units that were not exposed within lateness and look-back, and experiments that have ended: an exposure counts
until the end, the longest window and the lateness are over, and once its conversions had their time as well
(window and lateness again) the experiment is forgotten; what was published of it stays.

Kept, wanted by a metric or not (a definition may come late): of an exposed unit the conversions within a year
of its first exposure, at most `conversions_per_unit` of them.
"""

from dataclasses import dataclass

from schemas.names import MAX_BEHIND_MS

HOUR_MS = 60 * 60 * 1_000

MAX_WINDOW_MS = MAX_BEHIND_MS
"""The longest window that a metric may have: the limit of `schemas.names.DurationMs`."""


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Per partition, unless said otherwise. At a limit events are counted and ignored; nothing stops."""

    units: int = 1_000_000
    """Units remembered. At the limit those that were never exposed and are older than the lateness, by the
    newest event of any kind, make room; else events of further units are ignored."""
    experiments: int = 2_000
    """Experiments that exposures may name, known or not. At the limit those that nobody defined make room,
    oldest first: their counts start again should they come back. Without such, exposures to further ones are
    ignored."""
    variants: int = 64
    """Variants of one experiment that exposures may name (a definition has at most 50)."""
    exposures_per_unit: int = 64
    """Exposures remembered per unit and variant, of about 20 bytes each. Further exposures may still move the
    first one back in time or show a second variant, but are not counted: a unit has min(distinct, limit)
    exposures in any order of arrival, though perhaps in other hours of the series. Units, sums and verdicts
    never depend on it."""
    conversions_per_unit: int = 10_000
    """Conversions remembered per unit, of about 50 bytes each: the horizon for duplicates. The earliest by
    event time are kept, so which ones these are does not depend on the order of arrival."""
    waiting_units: int = 10_000
    """Units of experiments that nobody has defined yet whose attributes are kept for a breakdown that the
    definition may ask for. Further ones count there as without the attribute."""
    leak_grace_ms: int = 5_000
    """How long after an experiment's end clients may take to follow it."""
    lateness_ms: int = 48 * HOUR_MS
    """How much later in event time than the newest exposure an exposure may come and still find the
    conversions that were there before it. Longer than the day by which events may lie in the future."""
    look_back_ms: int = 14 * 24 * HOUR_MS
    """How long conversions of units that were never exposed are kept at least, for the covariate of an
    experiment that is not defined yet. Longer ones need the definition that long ahead: of what was before
    it, only this much is there."""
