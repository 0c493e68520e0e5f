"""Records that nobody can handle, of every kind, and a log with some among the good ones."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

from benchmarks.log import Fact

_KINDS = (
    b'{"type":"exposure","event_id":"0123456789abcdef","occurred_at_ms":17000',
    b'{"type":"conversion","event_id":"a","occurred_at_ms":1700000000000,"unit_id":"u","name":"n","value":NaN}',
    b'{"type":"exposure","event_id":17,"occurred_at_ms":"today","unit_id":null,"experiment_id":[],"variant":{}}',
    b'{"type":"parrot","event_id":"a","occurred_at_ms":1700000000000,"unit_id":"u"}',
    b'{"type":"exposure","event_id":"\xff\xfe","occurred_at_ms":1700000000000,"unit_id":"u"}',
    b"[" * 2_000 + b"]" * 2_000,
    b'{"type":"conversion","event_id":"' + b"x" * 20_000 + b'","occurred_at_ms":1700000000000}',
    b"",
    b'{"type":"exposure","event_id":"a","occurred_at_ms":9000000000000,"unit_id":"u","experiment_id":"e",'
    b'"variant":"v"}',
    b'{"type":"exposure","event_id":"a","occurred_at_ms":1700000000000,"unit_id":"u","experiment_id":"a b",'
    b'"variant":"v"}',
    b'{"type":"conversion","event_id":"a","occurred_at_ms":1700000000000,"unit_id":"u","name":"a\\u0001b"}',
    b'{"type":"conversion","event_id":"a","occurred_at_ms":1700000000000,"unit_id":"u","name":"n","x":"\xff"}',
)
"""Truncated, NaN, wrong types, unknown type, not UTF-8, nested too deeply, too long, empty; and what parses:
from the future, a key of other characters, a control character, not UTF-8 where one does not look."""


class Poison(NamedTuple):
    """A record that nobody can handle, under a key like all others."""

    unit_id: str
    value: bytes

    def to_json(self) -> bytes:
        """Return what is no JSON of ours."""
        return self.value


def poisoned(facts: Sequence[Fact], every: int) -> Iterator[Fact]:
    """Yield the facts, and poison so that every `every`-th record is such."""
    kinds = cycle(_KINDS)
    for place, fact in enumerate(facts, 1):
        yield fact
        if place % (every - 1) == 0:
            yield Poison(fact.unit_id, next(kinds))


def poison_in(facts: Sequence[Fact], every: int) -> int:
    """Return how much poison `poisoned` adds."""
    return len(facts) // (every - 1)
