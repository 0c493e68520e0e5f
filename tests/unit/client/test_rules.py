"""How a key and a unit become an assignment."""

from typing import Any

import pytest

from trimtab.evaluation import evaluate
from trimtab.rules import BadRules, Rules, parse


def experiment(**changes: Any) -> dict[str, Any]:
    """Return a running experiment that covers everybody, with changes."""
    return {
        "experiment_id": "digits-v2",
        "revision": 3,
        "closed": "",
        "salt": "digits-v2",
        "coverage": 1.0,
        "control": "champion",
        "defers_to": "",
        "variants": [
            {"key": "champion", "weight": 1.0, "model_version": "1", "payload": None},
            {"key": "challenger", "weight": 1.0, "model_version": "2", "payload": {"colour": "red"}},
        ],
    } | changes


def rules(*experiments: dict[str, Any], champion: str | None = "1", live: str | None = None) -> Rules:
    """Return rules of these experiments and one model."""
    models = [{"model": "digits", "champion": champion, "experiment_id": live}]
    return parse({"revision": 7, "experiments": list(experiments), "models": models})


def units(chosen: Rules, key: str) -> set[tuple[str | None, str | None, bool, str]]:
    """Return the different answers that 200 units get."""
    answers = (evaluate(chosen, key, f"user-{number}") for number in range(200))
    return {(each.variant, each.model_version, each.in_experiment, each.reason) for each in answers}


def test_running_experiment_shares_units_out() -> None:
    """Units of a running experiment get one of its variants, with what it carries."""
    assert units(rules(experiment()), "digits-v2") == {
        ("champion", "1", True, "assigned"),
        ("challenger", "2", True, "assigned"),
    }


def test_assignment_names_its_experiment_and_revision() -> None:
    """An assignment says by which experiment, at which revision, and carries the payload."""
    answers = [evaluate(rules(experiment()), "digits-v2", f"user-{number}") for number in range(50)]
    assert {(each.experiment_id, each.revision, each.key) for each in answers} == {
        ("digits-v2", 3, "digits-v2")
    }
    assert {"colour": "red"} in [each.payload for each in answers if each.variant == "challenger"]


def test_outside_the_coverage_control_serves_without_exposure() -> None:
    """Units outside the coverage get what control carries and take no part."""
    found = units(rules(experiment(coverage=0.2)), "digits-v2")
    assert ("champion", "1", False, "outside") in found
    assert ("challenger", "2", False, "outside") not in found


@pytest.mark.parametrize("closed", ["paused", "quarantined", "settled"])
def test_closed_experiment_serves_control(closed: str) -> None:
    """While an experiment is closed to units, everybody gets control and nobody takes part."""
    assert units(rules(experiment(closed=closed)), "digits-v2") == {("champion", "1", False, closed)}


def test_model_name_leads_to_its_live_experiment() -> None:
    """Asking by a model's name is asking its live experiment."""
    by_model = rules(experiment(), live="digits-v2")
    assert units(by_model, "digits") == units(by_model, "digits-v2")


def test_model_without_experiment_serves_its_champion() -> None:
    """Without a live experiment the champion serves, without an exposure."""
    assert units(rules(champion="5"), "digits") == {(None, "5", False, "champion")}


def test_ended_trial_defers_to_the_model() -> None:
    """Asking by an ended trial's id gives today's champion, not the one of its day."""
    ended = experiment(closed="settled", control="challenger", defers_to="digits")
    assert units(rules(ended, champion="9"), "digits-v2") == {(None, "9", False, "champion")}


def test_ended_trial_of_a_forgotten_model_serves_what_it_ended_with() -> None:
    """Where nothing is known of the model any more, the ended experiment still answers."""
    ended = experiment(closed="settled", control="challenger", defers_to="gone")
    assert units(rules(ended), "digits-v2") == {("challenger", "2", False, "settled")}


def test_unknown_key_leaves_the_choice_to_the_caller() -> None:
    """An unknown key has neither variant nor version, and says so."""
    assert units(rules(), "nobody") == {(None, None, False, "unknown")}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"revision": 1, "experiments": [], "models": [{}]},
        {"revision": "x", "experiments": [], "models": []},
        {"revision": 1, "experiments": [experiment(control="nobody")], "models": []},
        {"revision": 1, "experiments": [experiment(coverage=7)], "models": []},
        {"revision": 1, "experiments": [experiment(variants=[])], "models": []},
        {"revision": 1, "experiments": ["text"], "models": []},
        {"revision": 1, "experiments": [experiment(experiment_id=7)], "models": []},
        {"revision": 1, "experiments": [experiment(salt=None)], "models": []},
        {"revision": 1, "experiments": [experiment(closed=True)], "models": []},
        {"revision": 1, "experiments": [experiment(revision=float("inf"))], "models": []},
        {"revision": 1, "experiments": [experiment(forced={"tester": "nobody"})], "models": []},
        {"revision": 1, "experiments": [experiment(holdout={"name": "h", "share": "much"})], "models": []},
        {"revision": 1, "experiments": [experiment(exclusion={"group": "g", "start": 0.0})], "models": []},
        {"revision": 1, "experiments": [experiment(attributes=[1])], "models": []},
    ],
)
def test_what_is_no_rule_set_is_refused(document: Any) -> None:
    """Anything but a whole and coherent rule set is refused, never half taken."""
    with pytest.raises(BadRules):
        parse(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"hashing": "sha3"},
        {"hashing": ["trimtab"]},
        {"targeting": {"country": {"$near": "DE"}}},
        {"targeting": "everybody"},
    ],
)
def test_what_a_newer_service_says_closes_that_experiment_alone(changes: dict[str, Any]) -> None:
    """An experiment that this client cannot read gives control, with the reason; the others go on."""
    read = rules(experiment(**changes), experiment(experiment_id="other", salt="other"))
    assert units(read, "digits-v2") == {("champion", "1", False, "unsupported")}
    assert {each[3] for each in units(read, "other")} == {"assigned"}


def test_a_closed_experiment_keeps_its_reason() -> None:
    """An experiment that is paused says so, also where this client could not read its targeting."""
    paused = rules(experiment(closed="paused", targeting={"country": {"$near": "DE"}}))
    assert {each[3] for each in units(paused, "digits-v2")} == {"paused"}
