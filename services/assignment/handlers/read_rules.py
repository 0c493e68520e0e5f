"""Read the rule set: built anew only when something in it has changed."""

import asyncio
import hashlib
import json
from dataclasses import dataclass

from libs.common.errors import Retryable
from services.assignment.domain.rule_set import Document, rule_set
from services.assignment.ports import Store
from trimtab.rules import Rules, parse


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One revision of the rules: as it is sent, and as it is evaluated here."""

    body: bytes
    etag: str
    """The HTTP entity tag: revision and content, so that a restored database is no mix-up."""
    rules: Rules


class RulesReader:
    """Gives the newest rule set; while the database is away, the last one that could be had."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: RuleSet | None = None
        self._building = asyncio.Lock()

    async def current(self) -> RuleSet:
        """Return the rule set as it is now. Raises Retryable only before there was a first."""
        try:
            return await self._newest()
        except Retryable:
            if self._last is None:
                raise
            return self._last

    async def _newest(self) -> RuleSet:
        revision = await self._store.rules_revision()
        if self._last is not None and self._last.rules.revision == revision:
            return self._last
        async with self._building:  # one at a time, so that an older snapshot never comes last
            if self._last is None or self._last.rules.revision != revision:
                self._last = _encoded(rule_set(await self._store.snapshot()))
            return self._last


def _encoded(document: Document) -> RuleSet:
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()[:12]
    return RuleSet(body, f'"{document["revision"]}-{digest}"', parse(document))
