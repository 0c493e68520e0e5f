"""The tail of chi-square as a logarithm, where the probability itself is too small for a float."""

import math
from typing import Final

from scipy.special import gammaincc, gammaln

_UNDERFLOWS: Final = 1e-280


def log_chi_square_tail(value: float, freedom: int) -> float:
    """Return ln P(X ≥ value) of a chi-square variable, finite for every finite value.

    The upper incomplete gamma function; in its far tail Legendre's continued fraction by Lentz's method
    (Press et al., "Numerical Recipes", 6.2), which converges the faster the farther out. Raises ValueError
    unless there is at least one degree of freedom.
    """
    if freedom < 1:
        raise ValueError("freedom: must be at least 1")
    if value <= 0.0:
        return 0.0
    shape, half = freedom / 2.0, value / 2.0
    tail = float(gammaincc(shape, half))
    if tail > _UNDERFLOWS:
        return math.log(tail)
    return shape * math.log(half) - half - float(gammaln(shape)) + math.log(_continued(shape, half))


def _continued(shape: float, x: float) -> float:
    b = x + 1.0 - shape
    c, d = 1e300, 1.0 / b
    fraction = d
    for step in range(1, 500):
        factor = -step * (step - shape)
        b += 2.0
        d = 1.0 / (factor * d + b)
        c = b + factor / c
        change = d * c
        fraction *= change
        if abs(change - 1.0) < 1e-15:
            break
    return fraction
