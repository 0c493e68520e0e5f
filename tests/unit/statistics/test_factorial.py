"""Factorial effects against least squares."""

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.differences import NotEnough
from libs.statistics.factorial import Cells, FactorialEffect, factorial_effects, level_difference
from libs.statistics.sums import MICRO, Sums, exact_sums


def coding(levels: int) -> np.ndarray:
    """Return effect coding: one column for each level but the last, which is -1 in all."""
    return np.vstack([np.eye(levels - 1), -np.ones(levels - 1)])


def least_squares(
    counts: tuple[int, ...], data: dict[tuple[int, ...], list[float]]
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, float]]:
    """Return estimate and HC2 variance of each coded effect of the full model, by places and levels."""
    codes = [coding(count) for count in counts]
    rows, values = [], []
    names: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for cell, drawn in data.items():
        row, names = [], []
        for number in range(len(counts) + 1):
            for places in itertools.combinations(range(len(counts)), number):
                for levels in itertools.product(*(range(counts[place] - 1) for place in places)):
                    row.append(
                        math.prod(codes[p][cell[p]][lev] for p, lev in zip(places, levels, strict=True))
                    )
                    names.append((places, levels))
        rows += [row] * len(drawn)
        values += drawn
    fit = sm.OLS(np.array(values), np.array(rows)).fit(cov_type="HC2")
    return {
        name: (float(value), float(error) ** 2)
        for name, value, error in zip(names, fit.params, fit.bse, strict=True)
    }


@pytest.mark.parametrize("counts", [(2,), (2, 2), (2, 3), (3, 2, 2)])
def test_effects_are_those_of_least_squares_with_effect_coding(counts: tuple[int, ...]) -> None:
    """Full model, cells of unequal size and spread: estimates, and variances that allow for the spread."""
    chance = np.random.default_rng(1)
    data = {
        cell: list(chance.normal(sum(cell) + cell[0] * cell[-1], 1 + sum(cell), size=5 + 3 * sum(cell)))
        for cell in itertools.product(*(range(count) for count in counts))
    }
    named = {tuple(str(level) for level in cell): exact_sums(drawn) for cell, drawn in data.items()}
    factors = tuple("abc"[: len(counts)])
    effects = factorial_effects(Cells(factors, named, proportion=False))
    assert not isinstance(effects, NotEnough)
    found = {(each.factors, each.levels): each for each in effects}
    compared = 0
    for (places, levels), (estimate, variance) in least_squares(counts, data).items():
        if 1 <= len(places) <= 2:
            ours = found[tuple(factors[p] for p in places), tuple(str(level) for level in levels)]
            assert ours.estimate == pytest.approx(estimate, abs=1e-5)
            assert ours.variance == pytest.approx(variance, rel=1e-4)
            compared += 1
    assert compared


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


def effects_of(cells: Cells) -> dict[tuple[str, ...], FactorialEffect]:
    """Return the effects by their levels."""
    found = factorial_effects(cells)
    assert not isinstance(found, NotEnough)
    return {each.levels: each for each in found}


def test_two_by_two_by_hand() -> None:
    """Main effects are half the margins' difference, the interaction a quarter of the cross difference."""
    cells = Cells(
        ("colour", "text"),
        {
            ("red", "long"): rate(1_000, 100),
            ("red", "short"): rate(1_000, 120),
            ("blue", "long"): rate(1_000, 140),
            ("blue", "short"): rate(1_000, 240),
        },
        proportion=True,
    )
    found = effects_of(cells)
    assert found[("blue",)].estimate == pytest.approx(0.04)
    assert found[("red",)].estimate == pytest.approx(-0.04)
    assert found[("short",)].estimate == pytest.approx(0.03)
    assert found["blue", "short"].estimate == pytest.approx(0.02)
    assert found["red", "short"].estimate == pytest.approx(-0.02)
    assert found["blue", "short"].log_p < math.log(0.001)
    difference = level_difference(cells, "colour", ("blue", "red"))
    assert not isinstance(difference, NotEnough)
    assert difference[0] == pytest.approx(0.08)
    assert difference[1] == pytest.approx(4 * found[("blue",)].variance)


@given(st.lists(st.tuples(st.integers(2, 500), st.integers(0, 2)), min_size=6, max_size=6))
def test_levels_of_a_factor_cancel(sizes: list[tuple[int, int]]) -> None:
    """Main effects sum to 0 over a factor, interactions over either factor; every number is finite."""
    keys = list(itertools.product("ab", "xyz"))
    found = effects_of(
        Cells(("one", "two"), {key: rate(*size) for key, size in zip(keys, sizes, strict=True)}, True)
    )
    for levels in (["a", "b"], ["x", "y", "z"]):
        assert sum(found[(level,)].estimate for level in levels) == pytest.approx(0, abs=1e-12)
    for first in "ab":
        assert sum(found[first, second].estimate for second in "xyz") == pytest.approx(0, abs=1e-12)
    assert all(math.isfinite(each.log_p) and each.variance > 0 for each in found.values())


def test_a_cell_without_conversions_or_variance_keeps_a_width() -> None:
    """None converted, all converted, one value only in a cell of a mean."""
    keys = list(itertools.product("ab", "xy"))
    rates = dict(zip(keys, [rate(50, 0), rate(50, 50), rate(50, 0), rate(50, 50)], strict=True))
    assert all(each.variance > 0 for each in effects_of(Cells(("f", "g"), rates, True)).values())
    values = [
        exact_sums([1.0, 1.0]),
        exact_sums([1e12, 2e12]),
        exact_sums([-3.0, 4.0]),
        exact_sums([2.0] * 9),
    ]
    means = dict(zip(keys, values, strict=True))
    assert all(math.isfinite(each.log_p) for each in effects_of(Cells(("f", "g"), means, False)).values())


def test_a_missing_cell_is_named() -> None:
    """No effect can be told apart without every combination; with one value everywhere neither."""
    cells = {("a", "x"): rate(9, 1), ("a", "y"): rate(9, 1), ("b", "x"): rate(9, 1)}
    found = factorial_effects(Cells(("f", "g"), cells, True))
    assert isinstance(found, NotEnough)
    assert "b, y has 0 units" in found.reason
    lone = factorial_effects(Cells(("f", "g"), {**cells, ("b", "y"): rate(1, 1)}, True))
    assert isinstance(lone, NotEnough)
    same = {(level,): exact_sums([1.0] * 3) for level in "ab"}
    assert isinstance(factorial_effects(Cells(("f",), same, False)), NotEnough)
    assert isinstance(level_difference(Cells(("f", "g"), cells, True), "f", ("a", "b")), NotEnough)


@pytest.mark.parametrize(
    ("factors", "cells", "word"),
    [
        ((), {}, "factors"),
        (("f", "f"), {("a", "b"): Sums()}, "factors"),
        (("f",), {("a", "b"): Sums()}, "one level of each"),
        (("f",), {("a",): Sums()}, "f needs at least two levels"),
        (("f", "g"), {(str(i), str(i)): Sums() for i in range(50)}, "combinations"),
    ],
)
def test_cells_that_are_no_factorial_are_refused_by_name(
    factors: tuple[str, ...], cells: dict[tuple[str, ...], Sums], word: str
) -> None:
    """The message names what to change."""
    with pytest.raises(ValueError, match=word):
        Cells(factors, cells, True)


def test_an_unknown_factor_or_level_is_refused() -> None:
    """The message lists what there is."""
    cells = Cells(("f",), {("a",): rate(9, 1), ("b",): rate(9, 1)}, True)
    with pytest.raises(ValueError, match="g is none of f"):
        level_difference(cells, "g", ("a", "b"))
    with pytest.raises(ValueError, match="c is no level of f"):
        level_difference(cells, "f", ("a", "c"))
