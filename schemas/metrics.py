"""Metrics: what an experiment measures of its units."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.event import Contract
from schemas.names import DurationMs, Key, Name, Value

DAY_MS = 24 * 60 * 60 * 1_000


class MetricKind(StrEnum):
    """What is said of the units of a variant.

    `proportion`: share of units with at least one conversion; `mean`: value per unit; `count`: conversions
    per unit; `ratio`: value of one conversion per value of another, over all units; `quantile`: the value
    that a share of the units that converted does not exceed.
    """

    PROPORTION = "proportion"
    MEAN = "mean"
    COUNT = "count"
    RATIO = "ratio"
    QUANTILE = "quantile"


class Direction(StrEnum):
    """Which way is better."""

    INCREASE = "increase"
    DECREASE = "decrease"


class MetricRole(StrEnum):
    """`goal`: what the experiment is after; `guardrail`: what must not get worse."""

    GOAL = "goal"
    GUARDRAIL = "guardrail"


class Metric(Contract):
    """What is measured: conversions named `conversion` within `window_ms` of a unit's first exposure.

    A unit's value y is 1 or 0 for a proportion, the number of its conversions for a count, else the sum of
    their values, brought within `lower_bound` and `upper_bound` where these are given (winsorising). Its
    covariate x is the same over the `covariate_window_ms` before its first exposure (CUPED). A ratio is Σy
    over Σx of all units, x being the sum of the values of the conversions named `denominator`, in the same
    window as y.
    """

    name: Key
    conversion: Name
    kind: MetricKind = MetricKind.PROPORTION
    denominator: Name | None = None
    """Of a ratio: the conversions whose values it divides by, not those of `conversion`."""
    quantile: Annotated[float, Field(ge=0.01, le=0.99, allow_inf_nan=False)] | None = None
    """Of a quantile: the share of the units that converted whose values do not exceed it; 0.5: the median."""
    direction: Direction = Direction.INCREASE
    role: MetricRole = MetricRole.GUARDRAIL
    margin: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.10
    """A guardrail fails when the relative estimate is worse by more than this, with valid evidence."""
    window_ms: DurationMs = 7 * DAY_MS
    lower_bound: Value | None = None
    """Of a mean: a unit's value below counts as this."""
    upper_bound: Value | None = None
    """Of a mean: a unit's value above counts as this."""
    covariate_window_ms: DurationMs = 0
    """How far back the covariate looks, without the first exposure's own millisecond; 0: no covariate. Ratios
    and quantiles have none."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        lower, upper = self.lower_bound, self.upper_bound
        if self.kind is not MetricKind.MEAN and (lower is not None or upper is not None):
            raise ValueError("lower_bound, upper_bound: only the values of a mean can be winsorised")
        if lower is not None and upper is not None and lower >= upper:
            raise ValueError("lower_bound: must lie below upper_bound")
        return self

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Every kind has what it needs, and nothing that would be ignored."""
        if self.kind is MetricKind.RATIO:
            if self.denominator is None:
                raise ValueError("denominator: a ratio names the conversions whose values it divides by")
            if self.denominator == self.conversion:
                raise ValueError("denominator: must be another conversion than `conversion`")
        elif self.denominator is not None:
            raise ValueError("denominator: only a ratio has one")
        if self.kind is MetricKind.QUANTILE and self.quantile is None:
            raise ValueError("quantile: say which one, from 0.01 to 0.99; 0.5 is the median")
        if self.kind is not MetricKind.QUANTILE and self.quantile is not None:
            raise ValueError("quantile: only a metric of kind `quantile` has one")
        if self.kind in (MetricKind.RATIO, MetricKind.QUANTILE) and self.covariate_window_ms:
            raise ValueError("covariate_window_ms: must be 0, ratios and quantiles have no covariate")
        return self
