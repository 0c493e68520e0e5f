"""Definitions that could not be judged are refused, by the field to change."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.experiments import (
    Experiment,
    ExperimentKind,
    Policy,
    Variant,
)
from schemas.policies import Bandit
from tests.unit.metrics.test_judge import running
from tests.unit.metrics.test_judge_policies import GOAL


def definition(**changes: Any) -> dict[str, object]:
    """Return the fields of a definition with two variants."""
    base = running([GOAL]).model_dump()
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": ExperimentKind.BANDIT}, "policy.bandit"),
        (
            {"kind": ExperimentKind.BANDIT, "policy": Policy(bandit=Bandit(metric="no"))},
            "policy.bandit.metric",
        ),
        (
            {"kind": ExperimentKind.BANDIT, "policy": Policy(bandit=Bandit()), "metrics": ()},
            "policy.bandit.metric",
        ),
        ({"kind": ExperimentKind.MULTIVARIATE}, "variants.levels"),
        (
            {"variants": (Variant(key="a", levels={"x": "1"}), Variant(key="b", levels={"x": "2"}))},
            "variants.levels",
        ),
        (
            {
                "kind": ExperimentKind.MULTIVARIATE,
                "variants": (Variant(key="a", levels={"x": "1"}), Variant(key="b", levels={"y": "2"})),
            },
            "variants.levels",
        ),
        (
            {
                "kind": ExperimentKind.MULTIVARIATE,
                "variants": (Variant(key="a", levels={"x": "1"}), Variant(key="b", levels={"x": "1"})),
            },
            "variants.levels",
        ),
    ],
)
def test_definitions_that_cannot_be_judged_are_refused_by_field(
    changes: dict[str, object], field: str
) -> None:
    """A bandit without rules or something to earn, and factors that are none, name what to change."""
    with pytest.raises(ValidationError, match=field):
        Experiment.model_validate(definition(**changes))
