"""Limits on everything that grows in a partition's memory, each with what happens at it."""

from dataclasses import dataclass

HOUR_MS = 60 * 60 * 1_000


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Per partition, unless said otherwise. At a limit events are counted and ignored; nothing stops."""

    units: int = 1_000_000
    """Units remembered. Events of further units are ignored."""
    experiments: int = 2_000
    """Experiments that exposures may name, known or not. Exposures to further ones are ignored."""
    variants: int = 64
    """Variants of one experiment that exposures may name (a definition has at most 50)."""
    exposures_per_unit: int = 10_000
    """Event ids of exposures remembered per unit and experiment: the horizon for duplicates. Further
    exposures may still move the first one forward or show a second variant, but are not counted."""
    conversions_per_unit: int = 10_000
    """Conversions remembered per unit: the horizon for duplicates. The earliest by event time are kept, so
    which ones these are does not depend on the order of arrival."""
    lateness_ms: int = 48 * HOUR_MS
    """How much later in event time than the newest exposure an exposure may come and still find the
    conversions that were there before it. Longer than the day by which events may lie in the future."""
