"""Writes snapshots beside the loop, one at a time."""

import asyncio
import logging
from typing import Generic

from libs.common.errors import Fenced, Misconfigured, Refused, Retryable
from libs.common.lifecycle import give_up
from libs.common.partitions.dumps import Dump
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import PartitionStore, RowsT
from libs.common.telemetry.names import SNAPSHOT_DURATION, collector

log = logging.getLogger(__name__)


class Saver(Generic[RowsT]):
    """Takes a dump chunk by chunk and writes it in the background: folding goes on meanwhile.

    A snapshot that could not be written costs a longer replay and nothing else, so it stops nothing;
    `trouble` says why, until one is written. Who loses the partition gives its snapshot up.
    """

    def __init__(self, store: PartitionStore[RowsT], own: Ownership[RowsT]) -> None:
        self._store = store
        self._own = own
        self._task: asyncio.Task[None] | None = None
        self._dump: Dump | None = None
        self.trouble = ""

    @property
    def idle(self) -> bool:
        """True when no snapshot is being written."""
        return self._task is None or self._task.done()

    def save(self, held: Held[RowsT], publishing: asyncio.Task[bool] | None = None) -> None:
        """Begin to write a snapshot of `held` as it is now, and give it up unless `publishing` comes to say
        that the store took the rows of this state. Only when idle, and without it only when nothing is
        unwritten."""
        assert self.idle
        assert publishing is not None or not held.unwritten
        self._dump = Dump(held.lease, dict(held.offsets), held.state.dump(), held.partitions)
        self._task = asyncio.create_task(self._save(held, self._dump, publishing))

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
            await give_up(self._task, what="a snapshot")
            self._task = None
        if self._dump is not None:
            self._dump.close()  # a task that never began has closed nothing
            self._dump = None

    async def _save(self, held: Held[RowsT], dump: Dump, publishing: asyncio.Task[bool] | None) -> None:
        if publishing is not None and not await _taken(publishing):
            dump.close()
            return
        try:
            with collector(SNAPSHOT_DURATION).time():
                snapshot = await dump.seal(lambda: self._own.holds(held, dump.lease))
                if snapshot is None:
                    log.info("partition %d: it went while its dump was taken", dump.lease.partition)
                    return
                await self._store.save_snapshot(dump.lease, snapshot)
        except Fenced as error:
            log.info("no snapshot: %s", error.message)  # the next publish meets it too, and acts on it
        except (Retryable, Refused, Misconfigured) as error:
            self.trouble = f"no snapshot: {error.message}"
            log.warning("%s", self.trouble)
        else:
            self.trouble = ""
            held.saved = dump.offsets


async def _taken(publishing: asyncio.Task[bool]) -> bool:
    """Return what it says in the end; False when it says nothing. What ended it is not raised here."""
    await asyncio.wait([publishing])
    return not publishing.cancelled() and publishing.exception() is None and publishing.result()
