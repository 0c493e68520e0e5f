"""Two numbers per unit, y and x, as exact sums: scatters and covariance without a float before the division.

x stands in the covariate's fields of `Sums`: what the unit did before its exposure (CUPED), or the
denominator of a ratio metric.
"""

from collections.abc import Iterable

from libs.statistics.sums import MICRO, Sums, to_micro


def exact_pairs(pairs: Iterable[tuple[float, float]]) -> Sums:
    """Return the sums of one (y, x) per unit, for notebooks, tests and audits."""
    micros = [(to_micro(float(y)), to_micro(float(x))) for y, x in pairs]
    return Sums(
        units=len(micros),
        converted_units=sum(y != 0 for y, _ in micros),
        total=sum(y for y, _ in micros),
        total_squares=sum(y * y for y, _ in micros),
        covariate_total=sum(x for _, x in micros),
        covariate_squares=sum(x * x for _, x in micros),
        cross=sum(x * y for y, x in micros),
    )


def scatter_y(sums: Sums) -> int:
    """Return n Σy² - (Σy)² in micro-units squared: n (n - 1) times the variance, exactly."""
    return sums.units * sums.total_squares - sums.total * sums.total


def scatter_x(sums: Sums) -> int:
    """Return n Σx² - (Σx)², likewise."""
    return sums.units * sums.covariate_squares - sums.covariate_total * sums.covariate_total


def scatter_xy(sums: Sums) -> int:
    """Return n Σxy - Σx Σy, likewise: n (n - 1) times the covariance."""
    return sums.units * sums.cross - sums.covariate_total * sums.total


def residual_variance(sums: Sums, slope: tuple[int, int]) -> float:
    """Return the unbiased variance of y - slope x over the units, of which there are two or more.

    The slope is a numerator and a denominator other than 0, as of `float.as_integer_ratio`.

    An exact quadratic form, never negative, and one division at the end: nothing cancels however well x
    explains y. 0 where it is too small for a float.
    """
    p, q = slope
    scatter = q * q * scatter_y(sums) - 2 * p * q * scatter_xy(sums) + p * p * scatter_x(sums)
    return scatter / (q * q * sums.units * (sums.units - 1) * MICRO * MICRO)
