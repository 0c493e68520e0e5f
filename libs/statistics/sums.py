"""Exact sums: integers of micro-units, so that merging is associative and a recount agrees to the last digit.

A value is scaled once to the nearest integer number of millionths (ties to even) and never touched by
floating point again until one division at the very end. Python's integers do not overflow: squares of
values up to 1e12 need more than 64 bits.
"""

from dataclasses import dataclass

MICRO = 1_000_000
"""Micro-units in one unit of a value."""


def to_micro(value: float) -> int:
    """Return the integer number of millionths nearest to the exact value of the float, ties to even.

    Raises ValueError or OverflowError for NaN and infinities, which no schema lets through.
    """
    if value.is_integer():
        return int(value) * MICRO
    numerator, denominator = value.as_integer_ratio()
    whole, rest = divmod(numerator * MICRO, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and whole & 1):
        return whole + 1
    return whole


@dataclass(frozen=True, slots=True)
class Sums:
    """What is known of one metric in one variant: units, how many converted, Σy and Σy² in micro-units; and
    of the covariate x, what the unit did before its exposure, Σx, Σx² and Σxy. Of a ratio x is what
    it is divided by.

    Units that did nothing count with y = 0. For a proportion y is 0 or 1, that is 0 or `MICRO`; so is x.
    """

    units: int = 0
    converted_units: int = 0
    total: int = 0
    """Σy in micro-units."""
    total_squares: int = 0
    """Σy² in micro-units squared."""
    covariate_total: int = 0
    """Σx in micro-units."""
    covariate_squares: int = 0
    """Σx² in micro-units squared."""
    cross: int = 0
    """Σxy in micro-units squared."""

    def __add__(self, other: "Sums") -> "Sums":
        """Return the sums of both, exactly: associative and commutative, `Sums()` is the neutral element."""
        return Sums(
            self.units + other.units,
            self.converted_units + other.converted_units,
            self.total + other.total,
            self.total_squares + other.total_squares,
            self.covariate_total + other.covariate_total,
            self.covariate_squares + other.covariate_squares,
            self.cross + other.cross,
        )

    @property
    def mean(self) -> float | None:
        """Return Σy / n in units of the value; None without units."""
        return self.total / (self.units * MICRO) if self.units else None

    @property
    def variance(self) -> float | None:
        """Return the unbiased variance (n Σy² - (Σy)²) / (n (n - 1)); None below two units.

        The numerator is an exact integer and there is one division: nothing cancels.
        """
        if self.units < 2:
            return None
        scatter = self.units * self.total_squares - self.total * self.total
        return scatter / (self.units * (self.units - 1) * MICRO * MICRO)


def exact_sums(values: list[float]) -> Sums:
    """Return the sums of one value per unit, for notebooks, tests and audits."""
    micros = [to_micro(float(value)) for value in values]
    return Sums(len(micros), sum(m != 0 for m in micros), sum(micros), sum(m * m for m in micros))
