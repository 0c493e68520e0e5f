"""Claims: bounds, limits, and the page they end on."""

import pytest
from scipy.stats import binomtest

from benchmarks.simulate.claims import Claim, Row, Table, lower_bound, percent, upper_bound
from benchmarks.simulate.page import Section, claims_of, page


@pytest.mark.parametrize(("events", "runs"), [(0, 100), (1, 100), (37, 1_000), (400, 400)])
def test_bounds_are_those_of_clopper_and_pearson(events: int, runs: int) -> None:
    """A one-sided 95 % bound is an end of the two-sided 90 % interval, at none and at all of the runs too."""
    if events:
        told = binomtest(events, runs).proportion_ci(0.90, "exact").low
        assert lower_bound(events, runs) == pytest.approx(told, rel=1e-9)
    else:
        assert not lower_bound(events, runs)
    if events < runs:
        told = binomtest(events, runs).proportion_ci(0.90, "exact").high
        assert upper_bound(events, runs) == pytest.approx(told, rel=1e-9)
    else:
        assert upper_bound(events, runs) == 1.0


def test_an_estimate_below_the_limit_is_not_enough() -> None:
    """A claim is kept by its bound; too few runs leave it open, and enough of them refute it."""
    proved, unproved, refuted = Claim(30, 1_000, 0.05), Claim(3, 100, 0.05), Claim(90, 1_000, 0.05)
    assert (proved.kept, proved.refuted) == (True, False)
    assert (unproved.kept, unproved.refuted) == (False, False)
    assert (refuted.kept, refuted.refuted) == (False, True)


def test_a_limit_from_below_is_held_by_the_lower_bound() -> None:
    """Coverage of 94.8 % in 10,000 runs proves 94 %, 94.1 % does not, and 93 % refutes it."""
    proved, unproved, refuted = (Claim(each, 10_000, 0.94, at_most=False) for each in (9_480, 9_410, 9_300))
    assert (proved.kept, unproved.kept, refuted.kept) == (True, False, False)
    assert (unproved.refuted, refuted.refuted) == (False, True)


def test_what_has_no_limit_can_not_be_missed() -> None:
    """A figure that is only shown is in italics and never fails."""
    shown = Claim(90, 100)
    assert shown.kept
    assert not shown.refuted
    assert str(shown).startswith("*90.0 %")


def test_shares_are_told_with_three_figures() -> None:
    """From hundredths of a per cent to all."""
    told = [percent(each) for each in (0.0, 0.00015, 0.0456, 0.951, 1.0)]
    assert told == ["0 %", "0.015 %", "4.56 %", "95.1 %", "100 %"]


def sections(*cells: Claim | str) -> tuple[Section, ...]:
    """Return one section with one table of one row."""
    columns = tuple(f"column {at}" for at in range(len(cells)))
    return (Section("Part", "Words.", (Table("Table", "More.", ("row", *columns), (Row("case", cells),)),)),)


def test_a_missed_claim_is_named_at_the_head_of_the_page() -> None:
    """Whoever reads the first lines knows whether all is kept, and what is not."""
    kept = page(sections(Claim(0, 1_000, 0.05), "none"), "command", 7)
    missed = page(sections(Claim(0, 1_000, 0.05), Claim(90, 1_000, 0.05)), "command", 7)
    assert "**All 1 claims are kept.**" in kept
    assert "- Table: case: column 1: **9.00 %" in missed


def test_each_table_names_what_comes_nearest_to_its_limit() -> None:
    """One line says what the table comes down to: the claim whose bound uses up most of its limit."""
    told = page(sections(Claim(1, 1_000, 0.05), Claim(20, 1_000, 0.05), Claim(500, 1_000)), "command", 7)
    assert "Nearest to its limit of 5.00 %: case: column 1, 2.00 %" in told


def test_the_page_says_the_same_twice() -> None:
    """Nothing on it is of a moment or a machine."""
    made = sections(Claim(1, 1_000, 0.05))
    assert page(made, "command", 7) == page(made, "command", 7)
    assert len(list(claims_of(made))) == 1
