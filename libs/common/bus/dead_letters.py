"""Where records go that can never be handled: kept with their bytes, and only so many of them."""

import hashlib
import logging
from binascii import b2a_base64
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import zstandard
from msgspec import json

from libs.common.bus.control import cloud_event_headers
from libs.common.bus.ports import Message, Producer, Record
from libs.common.clock import Clock
from libs.common.errors import LineStopped, Refused, Retryable
from libs.common.ids import derived_ids
from libs.common.telemetry.names import DEAD_LETTERS, collector

log = logging.getLogger(__name__)

TOPIC = "dead-letters"
MAX_VALUE_BYTES = 512 * 1024
MAX_KEY_BYTES = 1_024
MAX_REASON_CHARS = 2_000
COMPRESSED_FROM_BYTES = 1_024
"""Larger values are compressed: they are what dead letters take room and time by."""


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """How much poison a line takes: `run` records in a row, and a share of `ratio` among the last `window`
    records, which counts once `minimum` have been seen."""

    run: int = 100
    ratio: float = 0.10
    window: int = 10_000
    minimum: int = 1_000


class Passage(NamedTuple):
    """Good records that came by, and the poison after them; None: none came."""

    good: int
    record: Record | None
    reason: str = ""


class DeadLetters:
    """Buries poison on `dead-letters`. One per line; not for several tasks at once."""

    def __init__(
        self, producer: Producer, *, source: str, clock: Clock, limit: DeadLetterLimit | None = None
    ) -> None:
        self._producer = producer
        self._source = source
        self._clock = clock
        self._limit = limit or DeadLetterLimit()
        self._tally = _Tally(self._limit.window)
        self._first_of_run: Record | None = None

    async def bury(self, record: Record, reason: str) -> None:
        """Put the record away, and return when that is acknowledged; then the line may go on.

        Raises LineStopped when the limit is reached (this record is then not buried, and must not be
        committed), Retryable when no broker takes it. Burying a record twice gives the same `dead_letter_id`.
        """
        await self.bury_many([Passage(0, record, reason)])

    async def bury_many(self, passages: Sequence[Passage]) -> int:
        """Put records away in one go, in order; at least one passage. Returns how many passages are done:
        fewer than all where a limit or the broker stops at a later one. Raises what `bury` raises where it is
        the first one."""
        tally, first_of_run = self._tally.copy(), self._first_of_run
        letters = self._admit(passages)
        if not any(letters):
            return len(letters)
        answers = await self._producer.send_all([letter for letter in letters if letter is not None])
        failed = [answer for answer in answers if isinstance(answer, Retryable | Refused)]
        if failed:
            taken = next(n for n, each in enumerate(answers) if isinstance(each, Retryable | Refused))
            whole = [number for number, letter in enumerate(letters) if letter is not None][taken]
            self._tally, self._first_of_run = tally, first_of_run
            if not taken:
                raise failed[0]
            letters = self._admit(passages[:whole])
        self._tell(passages[: len(letters)])
        return len(letters)

    def _admit(self, passages: Sequence[Passage]) -> list[Message | None]:
        """Count passages as far as the limit allows, and return their letters. Raises LineStopped at the
        first poison."""
        letters: list[Message | None] = []
        envelopes = _Envelopes(self._source, self._clock.now_ms())
        for good, record, reason in passages:
            self.passed(good)
            letter = None
            if record is not None:
                try:
                    self._stop_past_the_limit(record, reason)
                except LineStopped:
                    if any(letters):
                        break
                    raise
                letter = envelopes.letter(record, reason)
                self._tally.add(good=False, count=1)
                self._first_of_run = self._first_of_run or record
            letters.append(letter)
        return letters

    def _tell(self, passages: Sequence[Passage]) -> None:
        buried = [(each.record, each.reason) for each in passages if each.record is not None]
        for topic, count in Counter(record.topic for record, _ in buried).items():
            collector(DEAD_LETTERS).labels(topic).inc(count)
        for record, reason in buried[:1]:
            others = f", and {len(buried) - 1} more" if len(buried) > 1 else ""
            log.warning(
                "buried %s-%d@%d: %s%s", record.topic, record.partition, record.offset, reason, others
            )

    def passed(self, count: int) -> None:
        """Note `count` good records."""
        if count > 0:
            self._tally.add(good=True, count=count)
            self._first_of_run = None

    def _stop_past_the_limit(self, record: Record, reason: str) -> None:
        limit, tally = self._limit, self._tally
        first = self._first_of_run or record
        place = f"{record.topic}-{record.partition}"
        if tally.bad_in_a_row + 1 > limit.run:
            problem = (
                f"{place}: more than {limit.run} records in a row cannot be handled, from "
                f"{first.topic}-{first.partition} offset {first.offset} to offset {record.offset}"
            )
        elif tally.total + 1 >= limit.minimum and tally.bad + 1 > limit.ratio * (tally.total + 1):
            problem = (
                f"{place}: at offset {record.offset}, {tally.bad + 1} of the last {tally.total + 1} records "
                f"cannot be handled, more than {limit.ratio:.0%}"
            )
        else:
            return
        raise LineStopped(
            f"{problem}; the last reason: {reason}",
            next_step=f"read topic {TOPIC} (source {self._source}), correct the producer or this service, "
            "then start again: it goes on at this record",
        )


class _Tally:
    """Counts good and bad among the last `window` records, in runs of the same kind."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._runs: deque[_Run] = deque()
        self.total = 0
        self.bad = 0
        self.bad_in_a_row = 0

    def copy(self) -> "_Tally":
        """Return the same counts, to go back to."""
        other = _Tally(self._window)
        other._runs.extend(_Run(run.bad, run.length) for run in self._runs)
        other.total, other.bad, other.bad_in_a_row = self.total, self.bad, self.bad_in_a_row
        return other

    def add(self, *, good: bool, count: int) -> None:
        """Note `count` records of one kind, and forget those that left the window."""
        runs, bad = self._runs, not good
        self.bad_in_a_row = self.bad_in_a_row + count if bad else 0
        self.total += count
        self.bad += count * bad
        if runs and runs[-1].bad == bad:
            runs[-1].length += count
        else:
            runs.append(_Run(bad, count))
        while self.total > self._window:
            oldest = runs[0]
            leaving = min(oldest.length, self.total - self._window)
            self.total -= leaving
            self.bad -= leaving * oldest.bad
            oldest.length -= leaving
            if not oldest.length:
                runs.popleft()


@dataclass(slots=True, eq=False)
class _Run:
    bad: bool
    length: int


def dead_letter(record: Record, reason: str, *, source: str, clock: Clock) -> Message:
    """Return the message that keeps `record`: the original key as key, and a JSON value.

    Of a value above 512 KiB the first 512 KiB are kept, with the full length and the SHA-256 of the whole;
    the rest is still in the log at the place named, as long as retention lasts. Values above 1 KiB are
    compressed (`value_compression` "zstd") before they become Base64.
    """
    return _Envelopes(source, clock.now_ms()).letter(record, reason)


_compressor = zstandard.ZstdCompressor(level=1)


class _Envelopes:
    """Makes the letters that are buried at one moment: what they have in common is worked out once."""

    def __init__(self, source: str, now_ms: int) -> None:
        self._source = source
        self._now_ms = now_ms
        self._ids: dict[tuple[str, int], Callable[..., str]] = {}
        self._headers = cloud_event_headers("dead_letter", event_id="", source=source, time_ms=now_ms)

    def letter(self, record: Record, reason: str) -> Message:
        """Return the letter of one record."""
        value = record.value
        letter_id = self._id(record)
        truncated = value is not None and len(value) > MAX_VALUE_BYTES
        kept = None if value is None else value[:MAX_VALUE_BYTES]
        compressed = kept is not None and len(kept) > COMPRESSED_FROM_BYTES
        if kept is not None and compressed:
            kept = _compressor.compress(kept)
        key = (record.key or b"")[:MAX_KEY_BYTES]
        body = {
            "type": "dead_letter",
            "dead_letter_id": letter_id,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "buried_at_ms": self._now_ms,
            "source": self._source,
            "reason": reason[:MAX_REASON_CHARS],
            "key_base64": _base64(key),
            "value_base64": None if kept is None else _base64(kept),
            "value_compression": "zstd" if compressed else None,
            "value_bytes": None if value is None else len(value),
            # Of a value that is here as a whole it would say nothing new, and cost as much as all the rest.
            "value_sha256": hashlib.sha256(value).hexdigest() if value is not None and truncated else None,
            "truncated": truncated,
        }
        headers = self._headers | {"ce_id": letter_id}
        return Message(TOPIC, key.decode("utf-8", "replace"), json.encode(body), headers)

    def _id(self, record: Record) -> str:
        place = record.topic, record.partition
        if place not in self._ids:
            self._ids[place] = derived_ids("dead-letter", *place)
        return self._ids[place](record.offset, self._source)


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
