"""The judge's record in memory, over what partitions published: for tests, and for trying things out."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from libs.common.bus.ports import Message
from schemas.versions import ModelState
from services.drift.domain.journal import Journal
from services.drift.domain.rows import (
    DriftRows,
    Progress,
    Tally,
    VersionKey,
    VersionTotal,
    WindowBody,
    WindowKey,
    WindowRow,
)
from services.drift.domain.windows import added


class MemoryLedger:
    """Keeps the promises of `ports.Ledger` and `ports.Desk`, but has no transactions to undo."""

    def __init__(self, published: Mapping[int, Sequence[DriftRows]]) -> None:
        self._published = published
        self._models: dict[str, ModelState] = {}
        self._journals: dict[VersionKey, bytes] = {}
        self._pruned_ms: dict[VersionKey, int] = {}
        self.sent: list[Message] = []
        """Everything that was put into the outbox."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryLedger"]:
        """Open the record."""
        yield self

    async def learn(self, state: ModelState) -> None:
        """Keep a model's state, unless a later revision is known."""
        known = self._models.get(state.model)
        if known is None or known.revision <= state.revision:
            self._models[state.model] = state

    async def progress(self) -> Mapping[int, Progress]:
        """Return how far each partition has come."""
        return {number: rows[-1].progress for number, rows in self._published.items() if rows}

    async def offsets(self) -> Mapping[str, int]:
        """Return nothing: there is no log."""
        return {}

    async def models(self) -> Mapping[str, ModelState]:
        """Return the latest state of each registered model."""
        return dict(self._models)

    async def totals(self) -> Sequence[VersionTotal]:
        """Return what was ever counted of each version."""
        latest: dict[tuple[int, VersionKey], VersionTotal] = {}
        for number, published in self._published.items():
            latest |= {(number, each.key): each for rows in published for each in rows.totals}
        sums: dict[VersionKey, VersionTotal] = {}
        for each in latest.values():
            known = sums.get(each.key, VersionTotal(each.key, 0, 0))
            sums[each.key] = VersionTotal(
                each.key, known.predictions + each.predictions, known.labelled + each.labelled
            )
        return list(sums.values())

    async def tallies(self) -> Mapping[VersionKey, Sequence[Tally]]:
        """Return the kept windows of each version in order of time."""
        parts: dict[VersionKey, dict[int, list[Tally]]] = defaultdict(lambda: defaultdict(list))
        for row in self._rows():
            parts[VersionKey(row.key.model, row.key.version)][row.key.start_ms].append(row.tally)
        return {
            key: [added(tallies) for _, tallies in sorted(windows.items())] for key, windows in parts.items()
        }

    async def bodies(self, key: VersionKey, starts_ms: Sequence[int]) -> Sequence[WindowBody]:
        """Return what all partitions know of these windows."""
        kept = [row for row in self._rows() if row.key[:2] == key and row.key.start_ms in starts_ms]
        return [row.body for row in kept if row.body is not None]

    async def journals(self, keys: Sequence[VersionKey]) -> Mapping[VersionKey, Journal]:
        """Return the journals of these versions, where there are any."""
        return {
            key: msgspec.json.decode(self._journals[key], type=Journal)
            for key in keys
            if key in self._journals
        }

    async def save(self, journal: Journal) -> None:
        """Replace a version's journal."""
        self._journals[journal.key] = msgspec.json.encode(journal)

    async def prune(self, key: VersionKey, before_ms: int) -> None:
        """Hide the version's windows that start before."""
        self._pruned_ms[key] = max(before_ms, self._pruned_ms.get(key, 0))

    async def enqueue(self, message: Message) -> None:
        """Add a message to the outbox."""
        self.sent.append(message)

    def _rows(self) -> list[WindowRow]:
        latest: dict[tuple[WindowKey, int], WindowRow] = {}
        for number, published in self._published.items():
            for row in (row for rows in published for row in rows.windows):
                known = latest.get((row.key, number))
                if row.body is None and known is not None:
                    row = replace(row, body=known.body)
                latest[row.key, number] = row
        return [
            row
            for (key, _), row in sorted(latest.items(), key=lambda item: item[0])
            if key.start_ms >= self._pruned_ms.get(VersionKey(key.model, key.version), 0)
        ]
