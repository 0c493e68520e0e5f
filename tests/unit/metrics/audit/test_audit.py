"""The audit on the bus in memory, against what the real partition state of ingest publishes."""

import json
from decimal import Decimal

import pytest

from libs.common.bus.ports import Message, TopicPartition
from schemas.facts import Exposure
from services.metrics.audit.check import audit
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.numbers import Segment, of_bin, of_metric, of_variant
from services.metrics.audit.published import Published
from services.metrics.audit.report import as_json, as_text, exit_code, problem_as_json, problem_as_text
from tests.unit.metrics.audit.scene import T0, UNIT_TOPICS, Scene, definition, result


@pytest.fixture
async def scene() -> Scene:
    """Return a log whose definition and events ingest has published."""
    scene = Scene()
    await scene.send(Message("experiments", "x", definition().to_json()))
    await scene.send_events()
    scene.ingest()
    return scene


async def test_what_ingest_publishes_is_equal(scene: Scene) -> None:
    """Rows and result of the real code agree with the recount in every number: exit code 0, poison told."""
    await scene.send(Message("results", "x", result(scene).to_json()))
    found = await scene.audit()
    assert found.compared.differences == ()
    assert found.compared.numbers > 200
    assert found.result.compared.numbers > 20
    assert exit_code(found) == 0
    assert "equal to the last digit" in as_text(found)
    assert "(1 poison, skipped)" in as_text(found)
    told = json.loads(as_json(found))
    assert told["equal"] is True
    assert told["offsets"]["exposures-0"] == scene.published.offsets[TopicPartition("exposures", 0)]


async def test_every_number_that_differs_is_named(scene: Scene) -> None:
    """A published number of any kind is off by one: that one difference is reported, exit code 1."""
    kinds = {place: part for part, numbers in scene.published.numbers.items() for place in numbers}
    for place in {(each[0], each[-1]): each for each in kinds}.values():
        partition = kinds[place]
        number = scene.published.numbers[partition][place]
        scene.published.numbers[partition][place] = int(str(number)) + 1
        found = await scene.audit()
        assert [each.where for each in found.compared.differences] == [(f"partition {partition}", *place)]
        assert exit_code(found) == 1
        assert "DIFFERENT: 1 of" in as_text(found)
        assert json.loads(as_json(found))["differences"][0]["where"][-1] == place[-1]
        scene.published.numbers[partition][place] = number


async def test_a_unit_in_the_wrong_bin_is_found(scene: Scene) -> None:
    """Both bins are named, the one with a unit too few and the one with a unit too many."""
    place, partition = next(
        (place, partition)
        for partition, numbers in scene.published.numbers.items()
        for place in numbers
        if "bin" in place
    )
    numbers = scene.published.numbers[partition]
    numbers[place] = int(str(numbers[place])) - 1
    numbers[of_bin("typical", place[3], -1)] = 1
    found = await scene.audit()
    assert [(each.where[1:], each.recomputed) for each in found.compared.differences] == [
        (of_bin("typical", place[3], -1), 0),
        (place, int(str(numbers[place])) + 1),
    ]
    assert f"metric / typical / variant / {place[3]} / bin / -1" in as_text(found)


async def test_rows_that_are_missing_or_too_many_differ(scene: Scene) -> None:
    """A partition without rows and a row of a variant that nobody met are differences; zeros are not."""
    gone = scene.published.numbers.pop(0)
    scene.published.numbers[1][of_variant("nobody", "units")] = 0
    scene.published.numbers[1][of_variant("stranger", "units")] = Decimal("0.5")
    found = await scene.audit()
    places = {each.where for each in found.compared.differences}
    assert places == {("partition 0", *place) for place, number in gone.items() if number} | {
        ("partition 1", "variant", "stranger", "units")
    }
    assert "more: --json has them all" in as_text(found)
    assert '"published": "0.5"' in as_json(found)


async def test_rows_of_a_metric_that_is_no_longer_defined_are_ignored(scene: Scene) -> None:
    """Old rows of a metric that the definition does not name are no difference."""
    scene.published.numbers[0][of_metric("old", "a", "total")] = 7
    scene.published.numbers[0][Segment("land", "value", "de").of_metric("old", "a", "total")] = 7
    assert (await scene.audit()).equal


async def test_a_wrong_result_differs_at_its_own_offsets(scene: Scene) -> None:
    """The result is compared with the log up to its offsets, not the rows': a later event changes nothing."""
    right = result(scene)
    later = Exposure(event_id="late", occurred_at_ms=T0, unit_id="u99", experiment_id="x", variant="a")
    await scene.send(Message("exposures", "u99", later.to_json()))
    scene.published.numbers.clear()
    scene.ingest()
    await scene.send(Message("results", "x", right.to_json()))
    assert (await scene.audit()).equal
    wrong = right.model_copy(
        update={"summaries": (right.summaries[0].model_copy(update={"mean": None}), *right.summaries[1:])}
    )
    await scene.send(Message("results", "x", wrong.to_json()))
    found = await scene.audit()
    assert [each.where for each in found.compared.differences] == [
        ("result", "metric", "bought", "variant", "a", "mean")
    ]
    assert "none" in as_text(found)


async def test_a_result_of_another_revision_is_not_compared(scene: Scene) -> None:
    """Its definition is gone, so it says so instead of comparing with a wrong one."""
    await scene.send(Message("results", "x", result(scene, revision=7, multi_variant_units=99).to_json()))
    found = await scene.audit()
    assert found.equal
    assert "not compared: the latest is of revision 7" in as_text(found)


async def test_retention_that_took_the_beginning_is_said_by_partition(scene: Scene) -> None:
    """A log that begins after offset 0 cannot be recounted: the partition and its first offset are named."""
    scene.bus.forget(TopicPartition("conversions", 2), before=1)
    with pytest.raises(CannotAudit, match="conversions-2 begins at offset 1") as caught:
        await scene.audit()
    assert "retention.ms" in problem_as_text(caught.value)


async def test_a_log_that_is_too_short_is_said(scene: Scene) -> None:
    """Published offsets beyond the end of the log mean another log: refused, not compared."""
    scene.published.offsets[TopicPartition("exposures", 3)] += 5
    with pytest.raises(CannotAudit, match="exposures-3 ends at"):
        await scene.audit()


async def test_what_cannot_be_audited_says_what_to_do(scene: Scene) -> None:
    """An unknown experiment, nothing published, and nobody exposed: each is named, with the next step."""
    with pytest.raises(CannotAudit, match="no experiment 'y'") as caught:
        await audit("y", scene.bus, scene.read)
    assert json.loads(problem_as_json(caught.value))["next_step"]
    scene.published = Published(definition())
    with pytest.raises(CannotAudit, match="published nothing yet"):
        await scene.audit()
    quiet = Scene()
    await quiet.send(Message("experiments", "x", definition().to_json()), Message("conversions", "u", b"{"))
    quiet.ingest()
    with pytest.raises(CannotAudit, match="no unit had met x"):
        await quiet.audit()


async def test_a_partition_that_nothing_is_published_of_is_reported(scene: Scene) -> None:
    """As after a reset without ingest: the other partitions are equal, and it says which records it cannot
    speak of, and exit code 2. With a difference elsewhere it is 1."""
    records = sum(scene.published.offsets.pop(TopicPartition(each, 2)) for each in UNIT_TOPICS)
    del scene.published.numbers[2]
    found = await scene.audit()
    assert (exit_code(found), found.compared.differences) == (2, ())
    assert f"partition 2: nothing published, {records} records in the log not covered" in as_text(found)
    assert "cannot say" in as_text(found)
    assert "start python -m services.metrics ingest" in as_text(found)
    told = json.loads(as_json(found))
    assert (told["equal"], told["uncovered"]) == (None, {"2": records})
    scene.published.numbers[1]["experiment", "multi_variant_units"] = 99
    found = await scene.audit()
    assert exit_code(found) == 1
    assert "partition 2: nothing published" in as_text(found)
    assert json.loads(as_json(found))["equal"] is False


async def test_a_partition_without_records_is_not_missed() -> None:
    """Nothing is published of partitions whose log is empty, and nothing is said of them."""
    quiet = Scene()
    event = Exposure(event_id="e", occurred_at_ms=T0, unit_id="u1", experiment_id="x", variant="a")
    await quiet.send(Message("experiments", "x", definition().to_json()))
    await quiet.send(Message("exposures", "u1", event.to_json()))
    quiet.ingest()
    quiet.published.offsets = {each: end for each, end in quiet.published.offsets.items() if end}
    found = await quiet.audit()
    assert exit_code(found) == 0
    assert "nothing published" not in as_text(found)
