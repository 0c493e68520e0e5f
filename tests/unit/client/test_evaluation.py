"""What evaluation promises, whatever the rules, the units and their attributes are."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.assignments import Assignment
from trimtab.evaluation import evaluate, without_exposure
from trimtab.rules import Rules, parse

UNITS = [f"user-{number}" for number in range(300)]
HASHINGS = st.sampled_from(["trimtab", "growthbook_v2"])
WEIGHTS = st.lists(st.floats(0, 100), min_size=2, max_size=4).filter(lambda weights: sum(weights) > 0)
SHARES = st.floats(0, 1)


def experiment(experiment_id: str = "checkout", **changes: Any) -> dict[str, Any]:
    """Return an experiment of two variants that covers everybody, with changes."""
    return {
        "experiment_id": experiment_id,
        "revision": 3,
        "closed": "",
        "salt": experiment_id,
        "coverage": 1.0,
        "control": "v0",
        "defers_to": None,
        "variants": variants([1.0, 1.0]),
    } | changes


def variants(weights: Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """Return variants `v0`, `v1` ... of these weights."""
    return [
        {"key": f"v{index}", "weight": weight, "model_version": str(index + 1), "payload": None} | changes
        for index, weight in enumerate(weights)
    ]


def rules(*experiments: dict[str, Any]) -> Rules:
    """Return rules of these experiments and a model `ranker` without one."""
    models = [{"model": "ranker", "champion": "4", "experiment_id": None}]
    return parse({"revision": 1, "experiments": list(experiments), "models": models})


def one(chosen: dict[str, Any], unit_id: str, **options: Any) -> Assignment:
    """Return what a unit gets in one experiment."""
    return evaluate(rules(chosen), chosen["experiment_id"], unit_id, **options)


def takers(chosen: dict[str, Any]) -> set[str]:
    """Return the units that take part in an experiment."""
    read = rules(chosen)
    return {unit for unit in UNITS if evaluate(read, chosen["experiment_id"], unit).in_experiment}


@given(WEIGHTS, SHARES, SHARES, HASHINGS)
@settings(max_examples=50, deadline=None)
def test_a_raised_coverage_moves_nobody(
    weights: list[float], first: float, then: float, hashing: str
) -> None:
    """Who takes part at a coverage has the same variant at every higher one, and nobody leaves."""
    low, high = sorted((first, then))
    common: dict[str, Any] = {"variants": variants(weights), "hashing": hashing}
    before, after = rules(experiment(coverage=low, **common)), rules(experiment(coverage=high, **common))
    for unit in UNITS:
        held = evaluate(before, "checkout", unit)
        if held.in_experiment:
            assert evaluate(after, "checkout", unit) == held


@given(st.lists(SHARES, min_size=1, max_size=4), HASHINGS)
@settings(max_examples=50, deadline=None)
def test_disjoint_shares_of_a_group_share_no_unit(cuts: list[float], hashing: str) -> None:
    """Experiments with disjoint shares of one group meet no unit in common, whatever their salts; together
    the shares that tile the group meet everybody."""
    bounds = sorted({0.0, 1.0, *cuts})
    met: set[str] = set()
    for index, (start, end) in enumerate(pairwise(bounds)):
        share = {"group": "checkout", "start": start, "end": end}
        found = takers(experiment(f"e{index}", exclusion=share, hashing=hashing))
        assert not met & found
        met |= found
    assert met == set(UNITS)


@given(SHARES, HASHINGS, WEIGHTS)
@settings(max_examples=50, deadline=None)
def test_a_holdouts_units_meet_no_experiment(share: float, hashing: str, weights: list[float]) -> None:
    """A unit that one experiment holds out is held out by all that name the holdout, with one reason."""
    common: dict[str, Any] = {"holdout": {"name": "2026-q4", "share": share}, "hashing": hashing}
    read = rules(experiment("a", **common), experiment("b", variants=variants(weights), **common))
    for unit in UNITS:
        reasons = {evaluate(read, key, unit).reason for key in ("a", "b")}
        assert reasons in ({"held_out"}, {"assigned"})


@given(
    st.fixed_dictionaries(
        {
            "coverage": SHARES,
            "hashing": HASHINGS,
            "targeting": st.sampled_from([{}, {"country": "DE"}]),
            "holdout": st.none() | st.just({"name": "all", "share": 1.0}),
            "sticky_since": st.integers(0, 4),
            "exposes": st.booleans(),
            "shadow": st.booleans(),
        }
    )
)
def test_forced_never_counts(changes: dict[str, Any]) -> None:
    """A forced unit gets its variant past every other rule and takes no part."""
    chosen = experiment(forced={"tester": "v1"}, **changes)
    found = one(chosen, "tester", recall=lambda _, __: ("v0", 3))
    assert (found.variant, found.in_experiment, found.reason) == ("v1", False, "forced")


@given(st.sampled_from(["paused", "quarantined", "settled"]), st.sampled_from([*UNITS[:20], "tester"]))
def test_closed_serves_control_to_all(closed: str, unit: str) -> None:
    """A closed experiment gives control to everybody, forced and remembered units included."""
    chosen = experiment(closed=closed, forced={"tester": "v1"}, sticky_since=1)
    found = one(chosen, unit, recall=lambda _, __: ("v1", 3))
    assert (found.variant, found.in_experiment, found.reason) == ("v0", False, closed)


@given(st.lists(st.tuples(WEIGHTS, SHARES), min_size=2, max_size=6))
@settings(max_examples=50, deadline=None)
def test_remembered_units_never_move(steps: list[tuple[list[float], float]]) -> None:
    """With a memory, no sequence of changes to weights and coverage moves a unit whose variant still exists;
    one whose variant is gone is drawn anew."""
    memory: dict[str, tuple[str, int]] = {}
    for revision, (weights, coverage) in enumerate(steps, start=1):
        chosen = experiment(revision=revision, coverage=coverage, variants=variants(weights), sticky_since=1)
        read, keys = rules(chosen), {each["key"] for each in chosen["variants"]}
        for unit in UNITS[:50]:
            found = evaluate(read, "checkout", unit, recall=lambda _, known: memory.get(known))
            if unit in memory and memory[unit][0] in keys:
                assert (found.variant, found.in_experiment) == (memory[unit][0], True)
            if found.in_experiment:
                assert found.variant is not None
                if memory.get(unit, ("",))[0] != found.variant:
                    memory[unit] = (found.variant, found.revision)


def test_an_older_memory_is_forgotten() -> None:
    """A variant that was given before `sticky_since` does not hold; one given at it does."""
    chosen = experiment(sticky_since=2, variants=variants([1.0, 0.0]))
    assert one(chosen, "user-1", recall=lambda _, __: ("v1", 1)).variant == "v0"
    assert one(chosen, "user-1", recall=lambda _, __: ("v1", 2)).variant == "v1"


def test_memory_is_asked_only_of_sticky_experiments() -> None:
    """The memory of units is not asked where nothing is remembered, nor for those it could not change."""

    def recall(_: str, __: str) -> None:
        raise AssertionError("asked")

    assert one(experiment(), "user-1", recall=recall).in_experiment
    assert one(experiment(sticky_since=1, closed="paused"), "user-1", recall=recall).reason == "paused"
    assert one(experiment(sticky_since=1, exposes=False), "user-1", recall=recall).reason == "flag"
    assert one(experiment(sticky_since=1, shadow=True), "user-1", recall=recall).reason == "shadow"
    forced = experiment(sticky_since=1, forced={"user-1": "v1"})
    assert one(forced, "user-1", recall=recall).reason == "forced"


def test_the_first_reason_wins() -> None:
    """Holdout comes before exclusion, exclusion before targeting, targeting before the ranges."""
    nobody: dict[str, Any] = {"coverage": 0.0}
    assert one(experiment(**nobody), "user-1").reason == "outside"
    nobody["targeting"] = {"country": "DE"}
    assert one(experiment(**nobody), "user-1").reason == "not_targeted"
    nobody["exclusion"] = {"group": "checkout", "start": 0.0, "end": 0.0}
    assert one(experiment(**nobody), "user-1").reason == "excluded"
    nobody["holdout"] = {"name": "all", "share": 1.0}
    assert one(experiment(**nobody), "user-1").reason == "held_out"


def test_a_flag_gives_variants_and_counts_nobody() -> None:
    """A flag's units get its variants without an exposure."""
    found = {one(experiment(exposes=False), unit).variant for unit in UNITS}
    assert found == {"v0", "v1"}
    assert {one(experiment(exposes=False), unit).reason for unit in UNITS} == {"flag"}


def test_a_shadow_serves_control_and_names_the_others() -> None:
    """All units of a shadow experiment get control; within the coverage the others are to be asked too."""
    chosen = experiment(shadow=True, coverage=0.5, variants=variants([1, 1, 1]))
    found = {(each.variant, each.reason, each.shadows) for each in (one(chosen, unit) for unit in UNITS)}
    assert found == {("v0", "shadow", ("v1", "v2")), ("v0", "outside", ())}


@pytest.mark.parametrize(
    ("changes", "values"),
    [({"payload": {"a": 1}}, [{"a": 1}]), ({}, ["1", "2"]), ({"model_version": None}, ["v0", "v1"])],
)
def test_value_has_one_type(changes: dict[str, Any], values: list[Any]) -> None:
    """The value is the payload where all have one, else the version where all have one, else the key."""
    chosen = experiment(variants=variants([1.0, 1.0], **changes))
    found = [one(chosen, unit).value for unit in UNITS]
    assert [each for each in values if each in found] == values
    assert all(each in values for each in found)


DEEP: Any = []
for _ in range(3_000):
    DEEP = {"a": DEEP}
ODD = st.sampled_from(
    [None, float("nan"), float("inf"), object(), DEEP, "x" * 100_000, b"bytes", {1: 2}, [[]]]
)
CONDITION = {"$or": [{"a": {"$gt": 1}}, {"a.b": {"$in": ["x"]}}, {"$not": {"c": {"$regex": "x+$"}}}]}


@given(
    st.text(st.characters(), max_size=300) | st.sampled_from(["", "\ud800", "\x00", "x" * 100_000]),
    st.dictionaries(st.sampled_from("abc"), ODD | st.dictionaries(st.sampled_from("abc"), ODD)),
    HASHINGS,
)
@settings(deadline=None)
def test_evaluation_never_raises(unit: str, attributes: dict[str, Any], hashing: str) -> None:
    """Any text is a unit and anything an attribute: there is an assignment."""
    share = {"group": "g", "start": 0.0, "end": 0.9}
    chosen = experiment(targeting=CONDITION, hashing=hashing, exclusion=share)
    found = one(chosen, unit, attributes=attributes)
    assert found.reason in ("assigned", "excluded", "not_targeted")


@pytest.mark.parametrize("unit", [None, 7, 7.0, True, b"user-1", ["user-1"], {}, object()])
def test_what_is_no_text_is_no_unit(unit: Any) -> None:
    """An id that is not text gets no variant and its reason, not a guess and not an error."""
    for key in ("checkout", "ranker", "nobody"):
        found = evaluate(rules(experiment(forced={"7": "v1"})), key, unit)
        assert (found.variant, found.in_experiment, found.reason) == (None, False, "bad_unit")


def test_answers_are_of_the_key_that_was_asked() -> None:
    """An experiment asked by its id and by its model gives the same, each under the key that was asked."""
    document = {
        "revision": 1,
        "experiments": [experiment()],
        "models": [{"model": "ranker", "champion": "1", "experiment_id": "checkout"}],
    }
    read = parse(document)
    for _ in range(2):  # the second time from what was worked out
        for unit in UNITS[:20]:
            by_id, by_model = evaluate(read, "checkout", unit), evaluate(read, "ranker", unit)
            assert (by_id.key, by_model.key) == ("checkout", "ranker")
            assert (by_id.variant, by_id.reason) == (by_model.variant, by_model.reason)


def test_unknown_keys_leave_nothing_behind() -> None:
    """Asking for keys that there are not fills no memory."""
    read = rules(experiment())
    for number in range(1_000):
        assert evaluate(read, f"unknown-{number}", "user-1").reason == "unknown"
    assert not read.plans


def test_without_an_exposure_control_serves() -> None:
    """Whose exposure cannot be told gets control and takes no part; who takes no part keeps what he has."""
    read = rules(experiment(variants=variants([0.0, 1.0])))
    given_up = without_exposure(read, evaluate(read, "checkout", "user-1"))
    assert (given_up.variant, given_up.in_experiment, given_up.reason) == ("v0", False, "not_exposed")
    champion = evaluate(read, "ranker", "user-1")
    assert without_exposure(read, champion) == champion
