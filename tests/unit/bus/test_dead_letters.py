"""Poison is kept with its bytes, and stops the line when there is too much of it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.dead_letters import (
    MAX_VALUE_BYTES,
    DeadLetterLimit,
    DeadLetters,
    Passage,
    _Tally,
    dead_letter,
)
from libs.common.bus.memory import MemoryBus
from libs.common.bus.memory.producer import MemoryProducer
from libs.common.bus.ports import Message, Position, Record
from libs.common.bus.rules import too_large
from libs.common.clock import ManualClock
from libs.common.errors import LineStopped, Refused, Retryable

CLOCK = ManualClock()


def poison(offset: int = 7, value: bytes | None = b"\xff{", key: bytes | None = b"u1") -> Record:
    """Return a record that nobody can read."""
    return Record("exposures", 2, offset, 123, key, value)


async def line(limit: DeadLetterLimit | None = None) -> tuple[MemoryBus, DeadLetters]:
    """Return a bus and the dead letters of one line on it."""
    bus = MemoryBus(CLOCK)
    producer = bus.producer()
    await producer.start()
    return bus, DeadLetters(producer, source="metrics", clock=CLOCK, limit=limit or DeadLetterLimit())


async def test_a_letter_keeps_everything() -> None:
    """Place, time, reason, source, key and bytes of the record are in the letter, under the original key."""
    bus, letters = await line()
    await letters.bury(poison(), "not JSON")
    (record,) = bus.records("dead-letters")
    body = json.loads(record.value or b"")
    assert record.key == b"u1"
    assert base64.b64decode(body.pop("value_base64")) == b"\xff{"
    assert base64.b64decode(body.pop("key_base64")) == b"u1"
    assert body.pop("value_sha256") is None  # the value is here as a whole
    assert dict(record.headers)["ce_id"].decode() == body.pop("dead_letter_id")
    assert body == {
        "type": "dead_letter",
        "topic": "exposures",
        "partition": 2,
        "offset": 7,
        "timestamp_ms": 123,
        "buried_at_ms": CLOCK.now_ms(),
        "source": "metrics",
        "reason": "not JSON",
        "value_bytes": 2,
        "value_compression": None,
        "truncated": False,
    }


def value_in(body: dict[str, Any]) -> bytes | None:
    """Return the value that a letter keeps."""
    if body["value_base64"] is None:
        return None
    kept = base64.b64decode(body["value_base64"])
    return zstandard.decompress(kept) if body["value_compression"] == "zstd" else kept


@given(
    value=st.none() | st.binary(max_size=200) | st.binary(min_size=1_020, max_size=3_000),
    key=st.none() | st.binary(max_size=50),
    reason=st.text(),
)
def test_any_record_can_be_buried(value: bytes | None, key: bytes | None, reason: str) -> None:
    """Whatever bytes a record has, its letter is JSON that fits on the bus and gives them back."""
    message = dead_letter(poison(value=value, key=key), reason, source="s", clock=CLOCK)
    body = json.loads(message.value or b"")
    assert value_in(body) == value
    assert too_large(message) is None


def test_the_largest_record_fits() -> None:
    """Of a huge record the beginning is kept, with the full length and a digest of the whole."""
    value = bytes(range(256)) * 4096
    message = dead_letter(poison(value=value, key=b"\xff" * 5000), "é" * 9999, source="s", clock=CLOCK)
    body = json.loads(message.value or b"")
    assert too_large(message) is None
    assert body["truncated"] is True
    assert body["value_bytes"] == len(value)
    assert body["value_sha256"] == hashlib.sha256(value).hexdigest()
    assert value_in(body) == value[:MAX_VALUE_BYTES]


def test_a_repetition_is_recognisable() -> None:
    """The same record buried again by the same service has the same id, and nothing else has it."""

    def identity(offset: int, source: str) -> str:
        letter = dead_letter(poison(offset), "r", source=source, clock=CLOCK)
        return str(json.loads(letter.value or b"")["dead_letter_id"])

    assert identity(1, "a") == identity(1, "a")
    assert len({identity(1, "a"), identity(2, "a"), identity(1, "b")}) == 3


async def test_a_run_of_poison_stops_the_line() -> None:
    """After the allowed run the next record is not buried, and the error says where and what to do."""
    bus, letters = await line(DeadLetterLimit(run=3))
    for offset in range(3):
        await letters.bury(poison(offset), "bad")
    with pytest.raises(
        LineStopped, match="from exposures-2 offset 0 to offset 3; the last reason: bad"
    ) as stop:
        await letters.bury(poison(3), "bad")
    assert len(bus.records("dead-letters")) == 3
    assert "dead-letters" in stop.value.next_step


async def test_a_good_record_ends_the_run() -> None:
    """Poison between good records goes on for ever below the ratio."""
    bus, letters = await line(DeadLetterLimit(run=2))
    for offset in range(50):
        await letters.bury(poison(offset), "bad")
        letters.passed(20)
    letters.passed(0)
    assert len(bus.records("dead-letters")) == 50


async def test_a_share_of_poison_stops_the_line_once_enough_was_seen() -> None:
    """More than ten per cent poison is borne for less than a thousand records, and then no longer."""
    bus, letters = await line()

    async def one_in_eight() -> None:
        for offset in range(1_000):
            letters.passed(7)
            await letters.bury(poison(offset), "bad")

    with pytest.raises(LineStopped, match=r"125 of the last 1000 records cannot be handled, more than 10%"):
        await one_in_eight()
    assert len(bus.records("dead-letters")) == 124


async def test_an_outage_buries_nothing_and_counts_nothing() -> None:
    """When no broker takes the letter the caller hears Retryable, and may try as often as it likes."""
    bus, letters = await line(DeadLetterLimit(run=1))
    bus.down()
    for _ in range(5):
        with pytest.raises(Retryable):
            await letters.bury(poison(), "bad")
    bus.up()
    await letters.bury(poison(), "bad")
    assert len(bus.records("dead-letters")) == 1


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=40), window=st.integers(1, 30))
def test_the_tally_counts_the_last_records(steps: list[tuple[bool, int]], window: int) -> None:
    """In runs or one by one, the tally knows the bad ones among the last records, and in a row."""
    tally = _Tally(window)
    plain: list[bool] = []
    for good, count in steps:
        tally.add(good=good, count=count)
        plain += [good] * count
    last = plain[-window:]
    assert (tally.total, tally.bad) == (len(last), last.count(False))
    run = next((place for place, good in enumerate(reversed(plain)) if good), len(plain))
    assert tally.bad_in_a_row == run


async def test_many_are_buried_up_to_the_limit() -> None:
    """What lies before the record that is too much is buried and done; then the line stops at that one."""
    bus, letters = await line(DeadLetterLimit(run=2))
    passages = [Passage(3, poison(0), "bad"), Passage(0, poison(1), "bad"), Passage(0, poison(2), "bad")]
    assert await letters.bury_many(passages) == 2
    with pytest.raises(LineStopped, match="offset 2"):
        await letters.bury_many(passages[2:])
    assert len(bus.records("dead-letters")) == 2


class Forgetful(MemoryProducer):
    """Takes the first message of many and none of the others."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus._cluster, CLOCK)

    async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
        """Send one."""
        return [*await super().send_all(messages[:1]), *(Retryable("gone") for _ in messages[1:])]


async def test_many_are_done_as_far_as_the_broker_took_them() -> None:
    """The rest is neither done nor counted: tried again one by one it comes nowhere near the limit."""
    bus = MemoryBus(CLOCK)
    producer = Forgetful(bus)
    await producer.start()
    letters = DeadLetters(producer, source="metrics", clock=CLOCK, limit=DeadLetterLimit(run=3))
    passages = [Passage(0, poison(0), "bad"), Passage(4, poison(1), "bad"), Passage(0, poison(2), "bad")]
    assert await letters.bury_many(passages) == 1
    assert await letters.bury_many(passages[1:]) == 1
    assert await letters.bury_many([*passages[2:], Passage(5, None)]) == 2
    assert [json.loads(each.value or b"")["offset"] for each in bus.records("dead-letters")] == [0, 1, 2]
