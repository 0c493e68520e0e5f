"""Metrics of every kind: what each needs, and what it refuses because it would be ignored."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.metrics import Metric, MetricKind


def metric(kind: MetricKind, **fields: Any) -> Metric:
    """Return a metric of this kind on purchases."""
    return Metric.model_validate({"name": "m", "conversion": "purchase", "kind": kind, **fields})


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (MetricKind.PROPORTION, {"covariate_window_ms": 1}),
        (MetricKind.MEAN, {"lower_bound": 0.0, "upper_bound": 1.0, "covariate_window_ms": 1}),
        (MetricKind.COUNT, {"covariate_window_ms": 1}),
        (MetricKind.RATIO, {"denominator": "visit"}),
        (MetricKind.QUANTILE, {"quantile": 0.01}),
        (MetricKind.QUANTILE, {"quantile": 0.99}),
    ],
)
def test_a_kind_with_what_it_needs_is_taken(kind: MetricKind, fields: dict[str, Any]) -> None:
    """And reads back from its JSON as it was."""
    found = metric(kind, **fields)
    assert Metric.model_validate_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        (MetricKind.RATIO, {}, "denominator: a ratio names"),
        (MetricKind.RATIO, {"denominator": "purchase"}, "denominator: must be another"),
        (
            MetricKind.RATIO,
            {"denominator": "visit", "covariate_window_ms": 1},
            "covariate_window_ms: must be 0",
        ),
        (MetricKind.RATIO, {"denominator": "visit", "quantile": 0.5}, "quantile: only"),
        (MetricKind.RATIO, {"denominator": "visit", "upper_bound": 1.0}, "upper_bound: only"),
        (MetricKind.MEAN, {"denominator": "visit"}, "denominator: only a ratio"),
        (MetricKind.PROPORTION, {"quantile": 0.5}, "quantile: only"),
        (MetricKind.COUNT, {"upper_bound": 1.0}, "upper_bound: only"),
        (MetricKind.QUANTILE, {}, "quantile: say which one"),
        (MetricKind.QUANTILE, {"quantile": 0.5, "covariate_window_ms": 1}, "covariate_window_ms: must be 0"),
        (MetricKind.QUANTILE, {"quantile": 0.5, "denominator": "visit"}, "denominator: only a ratio"),
        (MetricKind.QUANTILE, {"quantile": 0.009}, "greater than or equal to 0.01"),
        (MetricKind.QUANTILE, {"quantile": 1.0}, "less than or equal to 0.99"),
    ],
)
def test_what_is_missing_or_would_be_ignored_is_refused(
    kind: MetricKind, fields: dict[str, Any], problem: str
) -> None:
    """The message begins with the field to change."""
    with pytest.raises(ValidationError, match=problem):
        metric(kind, **fields)
