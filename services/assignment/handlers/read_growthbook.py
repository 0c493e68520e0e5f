"""Read the rule set as GrowthBook's SDKs fetch it: built anew only when it has changed."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from libs.common.clock import Clock
from services.assignment.domain.growthbook import features
from services.assignment.handlers.read_rules import RuleSet, RulesReader

MAX_LINE_BYTES = 50_000
"""growthbook for Python gives up its stream at a line of more than 128 KiB."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One state of all features: the answer to GET /api/features, and the same as lines of an event."""

    body: bytes
    lines: tuple[bytes, ...]
    etag: str
    """Depends on the features alone, so that every process has the same."""


class GrowthbookReader:
    """Gives the newest payload, on the rules as `RulesReader` has them."""

    def __init__(self, rules: RulesReader, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._of: RuleSet | None = None
        self._last: Payload | None = None
        self._last_at_ms = 0
        self._building = asyncio.Lock()

    async def current(self) -> Payload:
        """Return the payload as it is now. Raises Retryable only before there were first rules."""
        async with self._building:
            rules = await self._rules.current()
            if self._last is None or self._of is not rules:
                self._last = await self._next(rules)
                self._of = rules
            return self._last

    async def _next(self, rules: RuleSet) -> Payload:
        # In a thread: with a thousand experiments it takes long enough to hold up those who wait for answers.
        lines = await asyncio.to_thread(_lines, rules)
        etag = _etag(lines)
        if self._last is not None and self._last.etag == etag:
            return self._last
        # The JavaScript SDK takes a payload for new only when its date differs from the one before.
        self._last_at_ms = max(self._clock.now_ms(), self._last_at_ms + 1)
        first = b'{"status":200,"dateUpdated":' + _compact(_iso(self._last_at_ms)) + b","
        whole = (first, *lines, b"}")
        return Payload(b"\n".join(whole), whole, etag)


def _lines(rules: RuleSet) -> list[bytes]:
    """Return the features as they stand in the payload, one a line: JSON does not mind, and an event has
    short lines."""
    document = json.loads(rules.body)
    targeting = {each["experiment_id"]: each["targeting"] for each in document["experiments"]}
    lines = [b'"features":{']
    for key, feature in features(rules.rules, targeting).items():
        if len(lines) > 1:
            lines[-1] += b","
        text = _compact(key) + b":" + _compact(feature)
        if len(text) > MAX_LINE_BYTES:
            text = _compact(key) + b":" + json.dumps(feature, indent=0).encode()
        lines += text.split(b"\n")
    lines[-1] += b"}"
    return lines


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _etag(lines: Sequence[bytes]) -> str:
    digest = hashlib.sha256(b"\n".join(lines)).hexdigest()[:16]
    return f'W/"{digest}"'


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
