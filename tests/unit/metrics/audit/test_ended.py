"""The audit of experiments that have ended: the watermark, which is not a count, and units that come late."""

import json

import pytest

from libs.common.bus.ports import Message
from schemas.facts import Conversion, Exposure
from services.metrics.audit.events import Did, Met
from services.metrics.audit.numbers import LATEST_MS, Between, of_variant
from services.metrics.audit.recompute import HOUR_MS, MAX_CONVERSIONS, recount
from services.metrics.audit.report import as_json, as_text, exit_code
from tests.unit.metrics.audit.scene import T0, Scene, definition, ended

DAY_MS = 24 * HOUR_MS
GRACE_MS = 5_000
END_MS = T0 + 3 * HOUR_MS


def exposure(unit: str, at_ms: int, variant: str = "a", experiment: str = "x") -> Message:
    """Return the record of an exposure."""
    event = Exposure(
        event_id=f"late-{variant}-{at_ms}",
        occurred_at_ms=at_ms,
        unit_id=unit,
        experiment_id=experiment,
        variant=variant,
    )
    return Message("exposures", unit, event.to_json())


def purchase(unit: str, at_ms: int) -> Message:
    """Return the record of a conversion."""
    event = Conversion(event_id=f"c-{at_ms}", occurred_at_ms=at_ms, unit_id=unit, name="purchase", value=1.0)
    return Message("conversions", unit, event.to_json())


@pytest.fixture
async def scene() -> Scene:
    """Return an experiment that has ended, all its events published."""
    scene = Scene()
    await scene.send(Message("experiments", "x", definition().to_json()))
    await scene.send_events()
    scene.ingest()
    scene.definitions.keep(ended(END_MS))
    await scene.send(Message("experiments", "x", ended(END_MS).to_json()))
    scene.go_on()
    return scene


async def drop(scene: Scene) -> None:
    """Let the time go on until ingest has dropped the experiment, and its units convert once more."""
    for day in (19, 20):
        scene.clock.advance((19 if day == 19 else 1) * DAY_MS)
        for number in range(40):
            unit, at_ms = f"other-{number}", END_MS + day * DAY_MS
            await scene.send(exposure(unit, at_ms, experiment="y"), purchase(unit, at_ms))
        scene.go_on()
    assert scene.makes.outcomes.dropped_experiments == 4
    await scene.send(*(purchase(f"u{n}", END_MS + 20 * DAY_MS) for n in range(30)))
    scene.go_on()


async def test_units_may_go_on_converting_after_the_experiment_was_dropped(scene: Scene) -> None:
    """What the units of a dropped experiment still do moves no published number: equal, exit code 0."""
    assert exit_code(await scene.audit()) == 0
    await drop(scene)
    found = await scene.audit()
    assert found.compared.differences == ()
    assert exit_code(found) == 0


@pytest.mark.parametrize("beyond_ms", [-40 * DAY_MS, 40 * DAY_MS])
async def test_a_watermark_beyond_the_bounds_differs(scene: Scene, beyond_ms: int) -> None:
    """Before the latest exposure, or after all that exposed units ever did: one difference, which names both
    bounds."""
    await drop(scene)
    numbers = scene.published.numbers[1]
    numbers[LATEST_MS] = int(str(numbers[LATEST_MS])) + beyond_ms
    found = await scene.audit()
    assert exit_code(found) == 1
    (difference,) = found.compared.differences
    assert difference.where == ("partition 1", *LATEST_MS)
    bounds = difference.recomputed
    assert isinstance(bounds, Between)
    assert bounds.high == END_MS + 20 * DAY_MS
    assert bounds.low < END_MS
    assert f"{bounds.low} to {bounds.high}" in as_text(found)
    told = json.loads(as_json(found))["differences"][0]["recomputed"]
    assert told == {"from": bounds.low, "to": bounds.high}


def test_the_bounds_are_the_latest_exposure_and_the_latest_event() -> None:
    """The upper bound is of all conversions, also of those beyond what is kept of a unit."""
    done = [Did(n, f"c{n}", T0 + n, "u", "purchase", 1.0) for n in range(MAX_CONVERSIONS + 1)]
    met = [Met(n, f"e{n}", T0 + n, "u", "a", {}) for n in range(3)]
    found = recount(definition(), met, done, GRACE_MS)
    assert found.expected[LATEST_MS] == Between(T0 + 2, T0 + MAX_CONVERSIONS)
    assert recount(definition(), [], done, GRACE_MS).expected == {}


def test_units_are_late_for_a_variant_after_end_and_grace() -> None:
    """By their earliest exposure to it, in two variants or one; nobody is while the experiment lives."""
    last_ms = END_MS + GRACE_MS
    met = [
        Met(0, "e0", last_ms, "in-time", "a", {}),
        Met(1, "e1", last_ms + 1, "late", "a", {}),
        Met(2, "e2", last_ms + 9, "late", "a", {}),
        Met(3, "e3", T0, "crossed", "a", {}),
        Met(4, "e4", last_ms + 1, "crossed", "b", {}),
        Met(5, "e5", last_ms + 1, "moved-back", "b", {}),
        Met(6, "e6", T0, "moved-back", "b", {}),
    ]
    found = recount(ended(END_MS), met, [], GRACE_MS).numbers
    assert (found[of_variant("a", "late_units")], found[of_variant("b", "late_units")]) == (1, 1)
    assert recount(ended(END_MS), met, [], GRACE_MS + 1).numbers[of_variant("a", "late_units")] == 0
    assert recount(definition(), met, [], GRACE_MS).numbers[of_variant("a", "late_units")] == 0


async def test_late_units_are_compared(scene: Scene) -> None:
    """What ingest publishes of units that came after the end is what the log says; one more is found."""
    late_ms = END_MS + GRACE_MS + 1
    scene.clock.advance(HOUR_MS)
    await scene.send(
        exposure("u1", late_ms),
        exposure("u3", late_ms, "b"),
        exposure("n1", late_ms),
        exposure("n2", late_ms - 1),
        exposure("n3", late_ms, "b"),
    )
    scene.go_on()
    assert (await scene.audit()).compared.differences == ()
    places = [(p, v) for p in scene.published.numbers for v in "ab" if late(scene, p, v)]
    assert sum(late(scene, *place) for place in places) >= 3
    partition, variant = places[0]
    place = of_variant(variant, "late_units")
    scene.published.numbers[partition][place] = late(scene, partition, variant) + 1
    found = await scene.audit()
    assert [each.where for each in found.compared.differences] == [(f"partition {partition}", *place)]


def late(scene: Scene, partition: int, variant: str) -> int:
    """Return the published late units of a variant."""
    return int(str(scene.published.numbers[partition].get(of_variant(variant, "late_units"), 0)))
