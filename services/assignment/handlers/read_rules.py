"""Read the rule set: built anew only when something in it has changed."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

from libs.common.errors import Retryable
from services.assignment.domain.rule_set import Snapshot, rule_set
from services.assignment.ports import Store
from trimtab.rules import Rules, parse

OfrepAnswers = dict[tuple[str, str | None, str, bool], bytes]
"""From key, variant, reason and whether it is exposed: nothing else makes a difference in one rule set, so
there are at most as many as variants times reasons."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One revision of the rules: as it is sent, and as it is evaluated here."""

    body: bytes
    etag: str
    """The HTTP entity tag: revision and content, so that a restored database is no mix-up."""
    rules: Rules
    answers: OfrepAnswers = field(default_factory=dict, compare=False, repr=False)
    """Answers of OFREP that were encoded before."""


class RulesReader:
    """Gives the newest rule set; while the database is away, the last one that could be had."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: RuleSet | None = None
        self._building = asyncio.Lock()
        self._changed = asyncio.Event()

    async def current(self) -> RuleSet:
        """Return the rule set as it is now. Raises Retryable only before there was a first."""
        try:
            return await self.refresh()
        except Retryable:
            if self._last is None:
                raise
            return self._last

    async def latest(self) -> RuleSet:
        """Return the rule set of the last refresh, without asking the database. Raises Retryable only before
        there was a first."""
        return self._last or await self.refresh()

    async def refresh(self) -> RuleSet:
        """Return the rule set as it is now, and keep it. Raises Retryable while the database is away."""
        revision = await self._store.rules_revision()
        if self._last is not None and self._last.rules.revision == revision:
            return self._last
        async with self._building:  # one at a time, so that an older snapshot never comes last
            if self._last is None or self._last.rules.revision != revision:
                # A thousand experiments take a tenth of a second: others are answered meanwhile.
                self._last = await asyncio.to_thread(_built, await self._store.snapshot())
                self._changed.set()
                self._changed = asyncio.Event()
            return self._last

    async def after(self, etag: str) -> RuleSet:
        """Return the rule set once it is another than that of `etag`. Somebody else must refresh it."""
        while self._last is None or self._last.etag == etag:
            await self._changed.wait()
        return self._last


def _built(snapshot: Snapshot) -> RuleSet:
    document = rule_set(snapshot)
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()[:12]
    return RuleSet(body, f'"{document["revision"]}-{digest}"', parse(document))
