"""What a measurement stands on: a stack of its own, and the product's processes as they ship."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmarks.pinned import Pinned, on_cores
from benchmarks.shipped import make_database
from deploy.local.stack import LocalStack
from libs.common.clock import Clock, SystemClock

if TYPE_CHECKING:
    from benchmarks.measures.million import Million

HOUR_MS = 60 * 60 * 1_000
DAY_MS = 24 * HOUR_MS
ALL_CORES = frozenset(os.sched_getaffinity(0))
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Ground:
    """`scale` is the share of the full measurement; the files go to `logs`, the stacks to `homes`."""

    scale: float
    logs: Path
    homes: Path
    undo: AsyncExitStack
    """Ends what outlives one measurement."""
    clock: Clock = field(default_factory=SystemClock)
    million: "Million | None" = None
    """Once it is made."""
    day_ms: int = field(init=False)
    """When the events of every log begin: yesterday at a full hour, so that none lies in the future."""

    def __post_init__(self) -> None:
        now_ms = self.clock.now_ms()
        self.day_ms = now_ms - now_ms % HOUR_MS - DAY_MS

    @contextmanager
    def stack(self, name: str) -> Iterator[LocalStack]:
        """A fresh broker and database for as long as the block lasts."""
        with LocalStack.start(self.homes / name) as stack:
            yield stack


@dataclass(frozen=True, slots=True)
class Site:
    """One run of the product: a database and a group of its own on a stack."""

    stack: LocalStack
    database_url: str
    environment: Mapping[str, str]
    logs: Path

    @classmethod
    async def make(cls, stack: LocalStack, name: str, logs: Path) -> "Site":
        """Make the database `name`, which also names the group of ingest."""
        url = await make_database(stack.environment["DATABASE_URL"], name)
        told = {"DATABASE_URL": url, "METRICS_INGEST_GROUP": name, "METRICS_JUDGE_GROUP": f"{name}-judge"}
        return cls(
            stack, url, {**stack.environment, **told, "TELEMETRY_PORT": "0", "WORKER_NAME": "ingest-0"}, logs
        )

    @contextmanager
    def runs(self, module: str, verb: str = "", *, settings: Mapping[str, str] = _NONE) -> Iterator[Pinned]:
        """Run `python -m module verb`, with these settings, as long as the block lasts."""
        command = [sys.executable, "-m", module, *([verb] if verb else [])]
        log = self.logs / f"{self.environment['METRICS_INGEST_GROUP']}-{module}-{verb}.log"
        with on_cores(command, {**self.environment, **settings}, cores=ALL_CORES, log=log) as process:
            yield process
