"""Which logs an audit can be made of: whole ones, and those of which nothing is missing that matters."""

import json

import pytest

from libs.common.bus.ports import Message, TopicPartition
from schemas.experiments import Experiment
from schemas.facts import Conversion, Exposure
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.recompute import HOUR_MS, LATENESS_MS
from services.metrics.audit.report import as_json, as_text, exit_code, problem_as_text
from tests.unit.metrics.audit.scene import T0, UNIT_TOPICS, Scene, definition

DAY_MS = 24 * HOUR_MS
LOOK_BACK_MS = 1_000
"""Of the definition's metrics with a covariate."""


async def scene_with(before_ms: int, subject: Experiment | None = None) -> Scene:
    """Return a scene with the log of 30 units, whose older part retention has taken: the first records that
    are left were written so long before the experiment was created."""
    scene = Scene(T0 - 10 * DAY_MS)
    await older(scene)
    scene.clock.advance(10 * DAY_MS - before_ms)
    await older(scene)
    first = {
        TopicPartition(each.topic, each.partition): each.offset
        for topic in UNIT_TOPICS
        for each in reversed(scene.bus.records(topic))
        if each.timestamp_ms == scene.clock.now_ms()
    }
    assert len(first) == 8
    scene.clock.advance(before_ms + 3 * HOUR_MS)
    await scene.send(Message("experiments", "x", (subject or definition()).to_json()))
    await scene.send_events()
    scene.ingest()
    for partition, offset in first.items():
        scene.bus.forget(partition, before=offset)
    return scene


async def older(scene: Scene) -> None:
    """Append what other units did in another experiment, in every partition."""
    now_ms = scene.clock.now_ms()
    for number in range(40):
        unit, event_id = f"older-{number}", f"e-{now_ms}"
        met = Exposure(event_id=event_id, occurred_at_ms=now_ms, unit_id=unit, experiment_id="y", variant="a")
        did = Conversion(event_id=event_id, occurred_at_ms=now_ms, unit_id=unit, name="visit", value=1.0)
        await scene.send(
            Message("exposures", unit, met.to_json()), Message("conversions", unit, did.to_json())
        )


async def test_a_log_that_begins_before_the_experiment_is_complete_for_it() -> None:
    """What retention took lies two days and the longest look-back before the experiment: equal, and told."""
    scene = await scene_with(LATENESS_MS + LOOK_BACK_MS)
    found = await scene.audit()
    assert found.compared.differences == ()
    assert found.compared.numbers > 200
    assert exit_code(found) == 0
    assert "nothing of this experiment is missing" in as_text(found)
    written_ms = T0 - LATENESS_MS - LOOK_BACK_MS
    assert json.loads(as_json(found))["log_begins_ms"] == {
        f"{topic}-{partition}": written_ms for topic in UNIT_TOPICS for partition in range(4)
    }


async def test_conversions_of_the_look_back_may_be_missing() -> None:
    """A millisecond later the covariates' conversions may be gone: refused, and since when what is left was
    written, and what would be needed. Exposures are all there."""
    scene = await scene_with(LATENESS_MS + LOOK_BACK_MS - 1)
    with pytest.raises(CannotAudit, match="conversions-0 begins at offset") as caught:
        await scene.audit()
    assert "exposures-" not in caught.value.message
    assert "written 2023-11-12T21:59:59Z" in caught.value.message
    assert "needs all that was written since 2023-11-12T21:59:59Z" in problem_as_text(caught.value)
    assert "retention.ms" in problem_as_text(caught.value)


async def test_exposures_may_be_missing() -> None:
    """First records that are left from less than two days before the experiment prove nothing: refused."""
    scene = await scene_with(LATENESS_MS - 1, definition().model_copy(update={"metrics": ()}))
    with pytest.raises(CannotAudit, match="exposures-0 begins at offset"):
        await scene.audit()


async def test_a_partition_of_which_nothing_is_left_is_refused() -> None:
    """Without a record there is no telling when what is gone was written."""
    scene = await scene_with(LATENESS_MS + LOOK_BACK_MS)
    place = TopicPartition("exposures", 2)
    scene.bus.forget(place, before=scene.published.offsets[place])
    with pytest.raises(CannotAudit, match=r"exposures-2 begins at offset \d+, and no record is left"):
        await scene.audit()
