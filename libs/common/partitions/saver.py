"""Writes snapshots beside the loop, one at a time."""

import asyncio
import logging
from typing import Generic, NamedTuple

from libs.common.errors import Fenced, Refused, Retryable
from libs.common.partitions.held import Held
from libs.common.partitions.ports import Lease, PartitionStore, RowsT
from libs.common.telemetry.names import SNAPSHOT_DURATION, collector

log = logging.getLogger(__name__)


class _Dump(NamedTuple):
    lease: Lease
    offsets: dict[str, int]
    body: bytes


class Saver(Generic[RowsT]):
    """Takes a dump at once and writes it in the background: folding goes on meanwhile.

    A snapshot that could not be written costs a longer replay and nothing else, so it stops nothing;
    `trouble` says why, until one is written.
    """

    def __init__(self, store: PartitionStore[RowsT]) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""

    @property
    def idle(self) -> bool:
        """True when no snapshot is being written."""
        return self._task is None or self._task.done()

    def save(self, held: Held[RowsT]) -> None:
        """Begin to write a snapshot of `held` as it is now. Only when idle."""
        assert self.idle
        snapshot = _Dump(held.lease, dict(held.offsets), held.state.dump())
        self._task = asyncio.create_task(self._save(held, snapshot))

    def check(self) -> None:
        """Raise what ended the last one, if that was neither a fence nor an outage: a defect."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def wait(self) -> None:
        """Return when the snapshot under way is written, or has failed."""
        if self._task is not None:
            await self._task
            self._task = None

    async def cancel(self) -> None:
        """Give up the snapshot under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _save(self, held: Held[RowsT], dump: _Dump) -> None:
        try:
            with collector(SNAPSHOT_DURATION).time():
                await self._store.save_snapshot(dump.lease, dump.offsets, dump.body)
        except Fenced as error:
            log.info("no snapshot: %s", error.message)  # the next publish meets it too, and acts on it
        except (Retryable, Refused) as error:
            self.trouble = f"no snapshot: {error.message}"
            log.warning("%s", self.trouble)
        else:
            self.trouble = ""
            held.saved = dump.offsets
