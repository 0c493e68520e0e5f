"""Adjusted p-values against statsmodels, and where it cannot follow."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from libs.statistics.multiple_testing import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(1e-300, 1), min_size=1, max_size=60)


@given(P_VALUES)
@settings(deadline=None, max_examples=10)
def test_both_are_those_of_statsmodels(p_values: list[float]) -> None:
    """Question by question, in the order they were asked."""
    logs = {str(place): math.log(p) for place, p in enumerate(p_values)}
    for ours, theirs in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        expected = multipletests(p_values, method=theirs)[1]
        found = ours(logs)
        assert list(found) == list(logs)
        assert [math.exp(each) for each in found.values()] == pytest.approx(expected, rel=1e-9)


@given(st.dictionaries(st.text(max_size=3), st.floats(-1e6, 0), max_size=20))
def test_laws_of_adjusting(logs: dict[str, float]) -> None:
    """Never below the p-value, never above 1, the same ranking; discovery is no stricter than Holm."""
    strict, lenient = holm(logs), benjamini_hochberg(logs)
    for key, log_p in logs.items():
        assert log_p <= lenient[key] + 1e-9 <= strict[key] + 2e-9
        assert strict[key] <= 0
    ranked = sorted(logs, key=lambda key: logs[key])
    for adjusted in (strict, lenient):
        assert [adjusted[key] for key in ranked] == sorted(adjusted.values())


def test_p_values_no_float_can_hold_keep_their_order() -> None:
    """exp(-5000) of two questions is doubled, not 0; minus infinity is a finite number."""
    assert holm({"a": -5_000.0, "b": -4_000.0}) == pytest.approx({"a": -5_000 + math.log(2), "b": -4_000})
    assert math.isfinite(holm({"a": -math.inf, "b": 0.0})["a"])


def test_no_question_has_no_answer_and_a_nan_is_refused() -> None:
    """Questions without evidence are to be left out."""
    assert holm({}) == {} == benjamini_hochberg({})
    with pytest.raises(ValueError, match="log_p"):
        holm({"a": math.nan})
