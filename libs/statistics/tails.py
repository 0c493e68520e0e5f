"""Tails of the normal, Student's t and the beta as logarithms: z = 50 is a number, not 0 or blank."""

import math
import sys

from scipy.special import betainc, betaln, log_ndtr, ndtri, stdtr, stdtrit

_UNDERFLOW = 1e-290
"""Below this tail the library's own number loses digits, and then is 0."""
_LARGEST = sys.float_info.max
_STEPS = 500
_TINY = 1e-300


def check_alpha(alpha: float) -> None:
    """Raise ValueError, naming the field, for an alpha outside (0, 1)."""
    if not 0 < alpha < 1:
        raise ValueError("alpha: must lie between 0 and 1, both excluded")


def critical_value(alpha: float, degrees_of_freedom: float | None) -> float:
    """Return the two-sided critical value: of Student's t, or of the normal where no degrees are given."""
    check_alpha(alpha)
    if degrees_of_freedom is None:
        return -float(ndtri(alpha / 2.0))
    return min(-float(stdtrit(degrees_of_freedom, alpha / 2.0)), _LARGEST)


def two_sided_log_p(statistic: float, degrees_of_freedom: float | None) -> float:
    """Return ln P(|T| >= |statistic|), finite and at most 0; normal where no degrees of freedom are given."""
    size = min(abs(statistic), 1e150)
    if degrees_of_freedom is None:
        tail = float(log_ndtr(-size))
    else:
        tail = _log_t_tail(size, degrees_of_freedom)
    return min(0.0, math.log(2.0) + tail)


def _log_t_tail(size: float, df: float) -> float:
    """ln P(T >= size) for size >= 0: half of I_x(df / 2, 1 / 2) with x = df / (df + t²)."""
    tail = float(stdtr(df, -size))
    if tail > _UNDERFLOW:
        return math.log(tail)
    ratio = size / df * size
    log_x, log_rest = -math.log1p(ratio), math.log(ratio) - math.log1p(ratio)
    return _far_beta_tail(df / 2.0, 0.5, log_x, log_rest) - math.log(2.0)


def log_beta_tail(a: float, b: float, x: float) -> float:
    """Return ln P(B <= x) of a beta variable with parameters a, b > 0, for 0 < x < 1; finite."""
    tail = float(betainc(a, b, x))
    return math.log(tail) if tail > _UNDERFLOW else _far_beta_tail(a, b, math.log(x), math.log1p(-x))


def _far_beta_tail(a: float, b: float, log_x: float, log_rest: float) -> float:
    """ln I_x(a, b) far below the mean a / (a + b), by ln x and ln(1 - x)."""
    front = a * log_x + b * log_rest - math.log(a) - float(betaln(a, b))
    return front + math.log(_continued_fraction(a, b, math.exp(log_x)))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            value *= c * d
        if abs(value - before) <= 1e-15 * abs(value):
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
