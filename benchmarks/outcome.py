"""What one run of one program came to."""

import json
from dataclasses import dataclass
from typing import Self

from benchmarks.world import Truth


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds run from the first record to the last; the half is the second half of the records, when a
    machine that compiles while it runs is warm. `why` says why there are no figures."""

    events: int = 0
    seconds: float = 0.0
    half_events: int = 0
    half_seconds: float = 0.0
    result: Truth | None = None
    peak_mb: float = 0.0
    note: str = ""
    why: str = ""

    @classmethod
    def parse(cls, line: str, peak_mb: float) -> Self:
        """Return what a program printed. Raises ValueError or KeyError when it is something else."""
        told = json.loads(line)
        result = told["result"]
        return cls(
            events=told["events"],
            seconds=told["seconds"],
            half_events=told["half_events"],
            half_seconds=told["half_seconds"],
            result=None if result is None else truth_from(result),
            peak_mb=peak_mb,
        )

    @property
    def rate(self) -> float:
        """Thousands of events a second, over all."""
        return self.events / self.seconds / 1_000 if self.seconds else 0.0

    @property
    def steady_rate(self) -> float:
        """Thousands of events a second, in the second half."""
        return self.half_events / self.half_seconds / 1_000 if self.half_seconds else 0.0


def truth_from(result: dict[str, list[int]]) -> Truth:
    """Return figures as the truth has them: whole numbers, sums perhaps as text (they pass 64 bits)."""
    figures: Truth = {}
    for key, values in result.items():
        units, conversions, total, squares = (int(each) for each in values)
        figures[key] = (units, conversions, total, squares)
    return figures


def differences(truth: Truth, result: Truth) -> list[str]:
    """Return one line for each variant whose figures are not the true ones."""
    return [
        f"{key}: {result.get(key)} instead of {truth.get(key)}"
        for key in sorted(truth.keys() | result.keys())
        if truth.get(key) != result.get(key)
    ]
