"""@growthbook/growthbook on Node.js gives every unit what `evaluate` gives; for Python see the unit tests."""

import json
import random
from pathlib import Path
from typing import Any

from tests.clients.javascript.harness import run_script
from tests.unit.assignment.growthbook_cases import (
    TARGETING,
    Case,
    case_of,
    experiment,
    people,
    random_experiment,
    weighed,
)


def javascript_says(case: Case, units: list[dict[str, Any]], folder: Path) -> dict[str, list[Any]]:
    """Return what @growthbook/growthbook says of each unit, by feature."""
    cases, said = folder / "cases.json", folder / "said.json"
    asked = {"payload": {"features": case.features}, "keys": sorted(case.features), "people": units}
    cases.write_text(json.dumps(asked), encoding="utf-8")
    run_script("growthbook_evaluate.mjs", str(cases), str(said))
    answers: dict[str, list[Any]] = json.loads(said.read_text(encoding="utf-8"))
    return answers


def test_javascript_sdk_agrees_on_ten_thousand_units(tmp_path: Path) -> None:
    """@growthbook/growthbook gives 10,000 units of every script what `evaluate` gives them, in twelve random
    experiments: value, variant, and in the experiment or not."""
    draw, units = random.Random(77), people(10_000, seed=7)
    ids = [each["id"] for each in units]
    case = case_of([random_experiment(draw, f"e{number}", ids) for number in range(12)])
    for key, answers in javascript_says(case, units, tmp_path).items():
        for attributes, said in zip(units, answers, strict=True):
            assert tuple(said) == case.ours(key, attributes), (key, attributes)


def test_javascript_sdk_agrees_on_conditions(tmp_path: Path) -> None:
    """@growthbook/growthbook means by every condition what `evaluate` means, whatever the attributes are."""
    units = people(2_000, seed=8)
    case = case_of([experiment(f"e{n}", targeting=each) for n, each in enumerate(TARGETING)])
    for key, answers in javascript_says(case, units, tmp_path).items():
        for attributes, said in zip(units, answers, strict=True):
            assert tuple(said) == case.ours(key, attributes), (case.features[key], attributes)


def test_javascript_sdk_keeps_sticky_units(tmp_path: Path) -> None:
    """With a sticky bucket service no unit moves when the weights do, and all do as `evaluate` says when what
    was remembered is forgotten."""
    units = people(1_000, seed=9)
    first, second, forgotten = weighed(1.0, 1), weighed(9.0, 1), weighed(9.0, 4)
    asked = {
        "payloads": [{"features": case.features} for case in (first, second, forgotten)],
        "people": units,
    }
    cases, said = tmp_path / "cases.json", tmp_path / "said.json"
    cases.write_text(json.dumps(asked), encoding="utf-8")
    run_script("growthbook_sticky.mjs", str(cases), str(said), "checkout")
    before, after, last = json.loads(said.read_text(encoding="utf-8"))
    assert before == after == [list(first.ours("checkout", each)) for each in units]
    assert last == [list(forgotten.ours("checkout", each)) for each in units] != before


def test_javascript_sdks_are_installed() -> None:
    """The locked SDKs can be loaded on this machine's Node.js."""
    assert run_script("versions.mjs")["@growthbook/growthbook"] == "1.8.0"
