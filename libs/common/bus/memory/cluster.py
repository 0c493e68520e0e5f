"""The cluster in memory that producers and consumers share: logs, groups, waiting, and its misfortunes."""

import asyncio
from collections import Counter
from typing import Literal

from libs.common.bus.memory.log import Group, Log
from libs.common.bus.ports import TopicPartition
from libs.common.errors import Retryable
from schemas.topics import TOPICS


class Crash(BaseException):
    """The process is gone, as after kill -9. No `except Exception` can hold it."""


class Client:
    """One producer or consumer: alive until a crash."""

    def __init__(self, group: str | None = None) -> None:
        self.group = group
        self.dead = False

    def die(self) -> None:
        """Do nothing ever again."""
        self.dead = True


class Cluster:
    """What all clients of one bus in memory share."""

    def __init__(self) -> None:
        self.partitions = {name: topic.partitions for name, topic in TOPICS.items()}
        self.logs = {
            partition: Log(partition)
            for name, count in self.partitions.items()
            for partition in (TopicPartition(name, number) for number in range(count))
        }
        self.groups: dict[str, Group] = {}
        self.down = False
        self.clients: set[Client] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._crash_at: tuple[str, str, str | None] | None = None
        self._left = 0

    def group(self, name: str) -> Group:
        """Return the group of this name, made when it is new."""
        return self.groups.setdefault(name, Group(self.partitions))

    def check(self, client: Client) -> None:
        """Raise Crash when this client is dead, Retryable while the cluster is down."""
        if client.dead:
            raise Crash("the process of this client has crashed")
        if self.down:
            raise Retryable("no broker answers", next_step="wait until Kafka is back")

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done at the next change: a record, a rebalance, an outage."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def wake(self) -> None:
        """Let everybody who waits for a change look again."""
        for future in tuple(self._waiting):
            if not future.done():
                future.set_result(None)

    def crash_at(self, event: Literal["read", "sent"], topic: str, after: int, group: str | None) -> None:
        """Plan a crash for the moment when `after` more records were read or sent."""
        self._crash_at, self._left = (event, topic, group), after

    def allowed(self, event: Literal["read", "sent"], topic: str, client: Client) -> int | None:
        """Return how many records may still pass before the planned crash; None without a plan for it."""
        if self._crash_at is None or self._crash_at[:2] != (event, topic):
            return None
        return self._left if self._crash_at[2] in (None, client.group) else None

    def passed(self, event: Literal["read", "sent"], counts: Counter[str], client: Client) -> None:
        """Count what was read or sent; at the planned record everyone concerned dies."""
        for topic, count in counts.items():
            if self.allowed(event, topic, client) is None:
                continue
            self._left -= count
            if self._left <= 0:
                victims = self.clients if self._crash_at and self._crash_at[2] is None else {client}
                for victim in tuple(victims):
                    victim.die()
                self._crash_at = None
                self.wake()
