"""What the gateway's answers mean for each event."""

import json
from typing import Any

import pytest

from trimtab.answers import read_answer


def body(**fields: Any) -> bytes:
    """Return a JSON body."""
    return json.dumps(fields).encode()


def test_all_accepted() -> None:
    """A plain 202 accepts every event."""
    answer = read_answer(202, body(accepted=3, rejected=[]), None, 3)
    assert (answer.accepted, answer.rejected, answer.retry, answer.error) == ((0, 1, 2), (), (), "")


@pytest.mark.parametrize("status", [202, 422])
def test_rejected_events_are_named(status: int) -> None:
    """A rejected event is out for good, with field and problem; the rest is accepted."""
    rejected = [{"index": 1, "field": "unit_id", "problem": "too long"}]
    answer = read_answer(status, body(accepted=2, rejected=rejected), None, 3)
    assert answer.accepted == (0, 2)
    assert answer.rejected == ((1, "unit_id: too long"),)
    assert "unit_id: too long" in answer.error


def test_all_rejected() -> None:
    """A 422 with outcomes rejects every event and repeats none."""
    rejected = [{"index": index, "field": "type", "problem": "unknown"} for index in range(2)]
    answer = read_answer(422, body(accepted=0, rejected=rejected), None, 2)
    assert (answer.accepted, len(answer.rejected), answer.retry) == ((), 2, ())


def test_partial_outage_repeats_only_the_rest() -> None:
    """A 503 with outcomes repeats those that it lists and counts the others as accepted."""
    answer = read_answer(503, body(accepted=2, rejected=[], retry=[1]), "1", 3)
    assert (answer.accepted, answer.retry, answer.retry_after_ms) == ((0, 2), (1,), 1_000.0)


@pytest.mark.parametrize("status", [401, 404, 408, 429, 500, 502, 503, 504])
def test_answers_without_outcomes_repeat_all(status: int) -> None:
    """Where nothing is known of any event, all are sent again."""
    assert read_answer(status, b"<html>busy</html>", None, 2).retry == (0, 1)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_batch_that_is_refused_as_a_whole_is_split(status: int) -> None:
    """A batch that the gateway cannot read, or finds too large, is tried again in parts: one event may be to
    blame. A single event never passes, and the gateway's answer is the reason."""
    answer = read_answer(status, b"no such thing", None, 2)
    assert (answer.retry, answer.rejected, answer.split) == ((0, 1), (), True)
    single = read_answer(status, b"no such thing", None, 1)
    assert ([index for index, _ in single.rejected], single.split) == ([0], False)
    assert "no such thing" in single.error


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"accepted":1e999,"rejected":[]}',
        b'{"accepted":0,"rejected":[{"index":1e999}]}',
        b'{"accepted":0,"rejected":[null]}',
        b"\xff",
    ],
)
def test_answer_that_nobody_can_read_counts_as_none(content: bytes) -> None:
    """Whatever a proxy sends instead of an answer ends no thread: the events are sent again."""
    assert read_answer(202, content, None, 2).retry == (0, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"accepted": 3, "rejected": []},
        {"accepted": 1, "rejected": [{"index": 5, "field": "", "problem": ""}]},
        {"accepted": 1, "rejected": [{"index": 1}], "retry": [1]},
        {"accepted": 2},
        {"accepted": "many", "rejected": []},
        {"accepted": 2, "rejected": [{}]},
    ],
)
def test_contradictory_answer_counts_as_none(fields: dict[str, Any]) -> None:
    """An answer whose numbers do not add up accepts nothing: all is sent again under the same ids."""
    answer = read_answer(202, body(**fields), None, 2)
    assert (answer.accepted, answer.retry) == ((), (0, 1))
