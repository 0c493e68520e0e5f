"""What a group member has heard about its partitions between two fetches."""

import asyncio
from collections.abc import Callable, Iterable

from aiokafka.abc import ConsumerRebalanceListener

from libs.common.bus.ports import TopicPartition


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Takes down what aiokafka's background task reports; the consumer applies it inside `fetch`.

    aiokafka rebalances eagerly: all partitions are revoked, then the new share is assigned. Those that stay
    are kept, unless another member may have had them in between: when this member missed a generation.
    """

    def __init__(self, identity: Callable[[], tuple[str, int]]) -> None:
        self._identity = identity
        """Returns the name of the member and its generation."""
        self._last: tuple[str, int] = ("", 0)
        self._waiting: asyncio.Future[None] | None = None
        self.share: frozenset[TopicPartition] = frozenset()
        """What the group gave this member last."""
        self.lost: set[TopicPartition] = set()
        """What was not this member's without a break since `take_lost`."""
        self.rebalancing = True
        self.dirty = False
        """Something has changed that is not applied yet."""

    def on_partitions_revoked(self, revoked: Iterable[tuple[str, int]]) -> None:
        """A rebalance begins."""
        self.rebalancing = True
        self._wake()

    def on_partitions_assigned(self, assigned: Iterable[tuple[str, int]]) -> None:
        """A rebalance has ended."""
        share = frozenset(TopicPartition(topic, partition) for topic, partition in assigned)
        member, generation = self._identity()
        unbroken = (member, generation - 1) == self._last
        self.lost |= self.share - share if unbroken else self.share
        self._last = (member, generation)
        self.share = share
        self.rebalancing = False
        self.dirty = True
        self._wake()

    def holds(self, partitions: Iterable[TopicPartition]) -> bool:
        """Return True when these are this member's still, as far as it has heard."""
        return all(partition in self.share and partition not in self.lost for partition in partitions)

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done at the next report."""
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
