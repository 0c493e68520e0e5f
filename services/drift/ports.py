"""What the judge needs from outside."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from libs.common.bus.ports import Message
from schemas.versions import ModelState
from services.drift.domain.journal import Journal
from services.drift.domain.performance import ErrorWindow
from services.drift.domain.rows import Progress, Tally, VersionKey, VersionTotal, WindowBody


class Desk(Protocol):
    """The record, inside one transaction that no other judge shares. Raises Retryable when it is lost."""

    async def progress(self) -> Mapping[int, Progress]:
        """Return how far each partition has come."""

    async def offsets(self) -> Mapping[str, int]:
        """Return the offsets that the partitions' rows cover, as `topic-partition` to the next offset."""

    async def models(self) -> Mapping[str, ModelState]:
        """Return the latest state of each registered model."""

    async def totals(self) -> Sequence[VersionTotal]:
        """Return what was ever counted of each version, summed over partitions."""

    async def tallies(self) -> Mapping[VersionKey, Sequence[Tally]]:
        """Return the kept windows of each version in order of time, summed over partitions. Every version in
        it has a total."""

    async def bodies(self, key: VersionKey, starts_ms: Sequence[int]) -> Sequence[WindowBody]:
        """Return what all partitions know of these windows."""

    async def journals(self, keys: Sequence[VersionKey]) -> Mapping[VersionKey, Journal]:
        """Return the journals of these versions, where there are any; they may be changed and saved."""

    async def save(self, journal: Journal) -> None:
        """Replace a version's journal."""

    async def prune(self, key: VersionKey, before_ms: int) -> None:
        """Delete the version's windows that start before."""

    async def enqueue(self, message: Message) -> None:
        """Add a message to the outbox."""


class Ledger(Protocol):
    """Where the record is."""

    def transaction(self) -> AbstractAsyncContextManager[Desk]:
        """Open the record for one judge at a time: what is written inside is kept together, or not at all."""

    async def learn(self, state: ModelState) -> None:
        """Keep a model's state, unless a later revision is known."""


class ErrorDetector(Protocol):
    """Finds changes of the mean error."""

    def last_change(self, windows: Sequence[ErrorWindow]) -> int | None:
        """Return the place of the window in which the mean error was last seen to have changed, None when it
        did not. The same windows give the same answer."""
