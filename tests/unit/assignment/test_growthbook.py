"""The rule set for GrowthBook's SDKs: growthbook for Python gives every unit what `evaluate` gives it."""

import json
import random
from typing import Any

import pytest
from growthbook import GrowthBook, InMemoryStickyBucketService

from schemas.audience import Forced, Hashing
from schemas.experiments import ExperimentKind, ExperimentState, Variant
from services.assignment.domain.growthbook_conditions import spelled_out
from services.assignment.domain.model_record import ModelRecord
from tests.unit.assignment.growthbook_cases import (
    TARGETING,
    Case,
    case_of,
    experiment,
    people,
    random_experiment,
    theirs,
    weighed,
)
from trimtab.conditions import compile_condition

PEOPLE = people(1_000)
VERSIONS = (Variant(key="champion", model_version="1"), Variant(key="challenger", model_version="2"))


def client_of(case: Case, **options: Any) -> GrowthBook:
    """Return growthbook for Python on the payload, as it comes over the wire."""
    return GrowthBook(features=json.loads(json.dumps(case.features)), **options)


def trial(**fields: Any) -> Any:
    """Return a champion/challenger experiment of the model `digits`."""
    return experiment(
        "digits-v2",
        kind=ExperimentKind.CHAMPION_CHALLENGER,
        model="digits",
        variants=VERSIONS,
        control="champion",
        **fields,
    )


@pytest.mark.parametrize("seed", range(40))
def test_python_sdk_agrees(seed: int) -> None:
    """Whatever the weights, coverage, targeting, groups, holdouts and forced units: the same value, the same
    variant, and in the experiment or not, for a thousand units with ids of every script."""
    draw = random.Random(seed)
    units = [each["id"] for each in PEOPLE]
    case = case_of([random_experiment(draw, f"e{number}", units) for number in range(3)])
    client = client_of(case)
    for key in ("e0", "e1", "e2"):
        for attributes in PEOPLE:
            assert theirs(client, key, attributes) == case.ours(key, attributes), (key, attributes)


@pytest.mark.parametrize("number", range(len(TARGETING)))
def test_conditions_are_spelled_out(number: int) -> None:
    """A condition as SDKs get it holds for the same attributes as the one that was written, and growthbook
    for Python agrees."""
    case = case_of([experiment(targeting=TARGETING[number])])
    client = client_of(case)
    written, spelled = compile_condition(TARGETING[number]), compile_condition(spelled_out(TARGETING[number]))
    for attributes in PEOPLE:
        assert written(attributes) == spelled(attributes), attributes
        assert theirs(client, "checkout", attributes) == case.ours("checkout", attributes), attributes


def test_sha256_is_left_out_while_units_differ() -> None:
    """An experiment hashed by SHA-256 is unknown to SDKs while it runs, and there when all get the same."""
    running = experiment("a", hashing=Hashing.TRIMTAB)
    paused = experiment("b", hashing=Hashing.TRIMTAB, state=ExperimentState.PAUSED)
    shadow = experiment("c", hashing=Hashing.TRIMTAB, kind=ExperimentKind.SHADOW)
    case = case_of([running, paused, shadow])
    assert set(case.features) == {"b", "c"}
    assert theirs(client_of(case), "a", {"id": "u"}) == (None, None)


def test_closed_gives_what_it_ended_with() -> None:
    """Paused and rolled back serve control, promoted its winner; nobody is in an experiment."""
    ended = [
        experiment("b", state=ExperimentState.ROLLED_BACK),
        experiment("c", state=ExperimentState.PROMOTED, promoted_variant="treatment"),
    ]
    case = case_of([experiment("a", state=ExperimentState.PAUSED)], ended)
    assert case.features == {
        "a": {"defaultValue": "blue"},
        "b": {"defaultValue": "blue"},
        "c": {"defaultValue": "green"},
    }


def test_model_is_a_feature() -> None:
    """A model's name gives its trial's versions while there is one, then its champion; the trial's id too."""
    record = ModelRecord(model="digits", champion="1")
    live = case_of([trial()], models=[record])
    client = client_of(live)
    said = {key: {theirs(client, key, each) for each in PEOPLE} for key in ("digits", "digits-v2")}
    assert said["digits"] == said["digits-v2"] == {("1", "champion"), ("2", "challenger")}
    assert all(theirs(client, "digits", each) == live.ours("digits", each) for each in PEOPLE)
    assert live.features["digits"]["rules"][0]["key"] == "digits-v2"  # type: ignore[call-overload,index]
    over = case_of([], [trial(state=ExperimentState.STOPPED)], [record])
    assert over.features == {"digits": {"defaultValue": "1"}, "digits-v2": {"defaultValue": "1"}}


def test_model_without_champion_is_unknown() -> None:
    """Where nobody serves, the SDK's caller has its own default."""
    assert case_of(models=[ModelRecord(model="digits")]).features == {}


def test_every_experiment_rule_names_its_variants_and_revision() -> None:
    """`meta` has each variant's key and `phase` the revision, so that tracked exposures can say both."""
    case = case_of([experiment(revision=5, forced=(Forced(unit_id="u", variant="treatment"),))])
    forced, rule = json.loads(json.dumps(case.features["checkout"]["rules"]))
    assert forced["force"] == "green"
    assert rule["meta"] == [{"key": "control"}, {"key": "treatment"}]
    assert (rule["phase"], rule["seed"], rule["hashVersion"]) == ("5", "checkout", 2)
    assert rule["ranges"] == [[0.0, 0.5], [0.5, 1.0]]
    assert (rule["weights"], rule["coverage"]) == ([0.5, 0.5], 1.0)


def test_flag_tracks_nobody() -> None:
    """A flag's variants are forced by range: the SDK gives them without an exposure."""
    viewed: list[Any] = []
    case = case_of([experiment(kind=ExperimentKind.FLAG, coverage=0.5)])
    client = client_of(case, on_experiment_viewed=lambda *args, **named: viewed.append(named))
    assert {theirs(client, "checkout", each) for each in PEOPLE} == {("blue", None), ("green", None)}
    assert viewed == []


def test_sticky_units_stay_when_weights_change() -> None:
    """With a sticky bucket service nobody moves when the weights do; new units follow the new weights; when
    what was remembered is forgotten, everybody does."""
    store = InMemoryStickyBucketService()

    def said(case: Case, units: list[dict[str, Any]]) -> list[Any]:
        client = client_of(case, sticky_bucket_service=store)
        return [theirs(client, "checkout", each) for each in units]

    old, new = PEOPLE[:500], PEOPLE[500:]
    before, after = weighed(1.0, 1), weighed(9.0, 1)
    first = said(before, old)
    assert said(after, old) == first
    moved = [case for case, each in zip(first, old, strict=True) if after.ours("checkout", each) != case]
    assert len(moved) > 100
    assert said(after, new) == [after.ours("checkout", each) for each in new]
    forgotten = weighed(9.0, 4)
    assert said(forgotten, old) == [forgotten.ours("checkout", each) for each in old]


def test_units_that_are_not_sticky_are_not_kept() -> None:
    """Without `sticky` an SDK's own sticky bucket service changes nothing."""
    store = InMemoryStickyBucketService()
    for coverage in (1.0, 0.2):
        case = case_of([experiment(coverage=coverage)])
        client = client_of(case, sticky_bucket_service=store)
        for each in PEOPLE:
            assert theirs(client, "checkout", each) == case.ours("checkout", each)
