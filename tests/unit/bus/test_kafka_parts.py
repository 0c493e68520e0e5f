"""The parts of the Kafka bus that need no broker."""

from collections.abc import Iterable

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
)

from libs.common.bus.kafka.failures import breaks_sequence, translated
from libs.common.bus.kafka.limits import LOST_AFTER_MS
from libs.common.bus.kafka.membership import Membership
from libs.common.bus.kafka.silence import Silence
from libs.common.bus.ports import TopicPartition
from libs.common.clock import ManualClock
from libs.common.errors import Misconfigured, Refused, Retryable

ONE, TWO, THREE = (TopicPartition("exposures", number) for number in range(3))


class _Assigned:
    """What `Silence` asks of an aiokafka consumer."""

    def __init__(self) -> None:
        self.answered_ms = 0

    def assignment(self) -> set[TopicPartition]:
        """Return one partition."""
        return {ONE}

    def last_poll_timestamp(self, partition: TopicPartition) -> int:
        """Return when the broker answered last."""
        return self.answered_ms


class _Group:
    """A group whose generations a test makes up."""

    def __init__(self) -> None:
        self.identity = ("me", 0)
        self.membership = Membership(lambda: self.identity)

    def assign(self, generation: int, partitions: Iterable[TopicPartition], member: str = "me") -> Membership:
        """Let a rebalance happen."""
        self.membership.on_partitions_revoked(())
        self.identity = (member, generation)
        self.membership.on_partitions_assigned(partitions)
        return self.membership


def test_a_partition_that_stays_is_kept_from_one_generation_to_the_next() -> None:
    """Only what went to others is lost when no generation was missed."""
    group = _Group()
    group.assign(4, [ONE, TWO])
    membership = group.assign(5, [TWO, THREE])
    assert membership.lost == {ONE}
    assert membership.share == {TWO, THREE}
    assert membership.holds([TWO])
    assert not membership.holds([ONE])


@pytest.mark.parametrize(("generation", "member"), [(6, "me"), (5, "me-again")])
def test_after_a_missed_generation_everything_is_lost(generation: int, member: str) -> None:
    """Where another member may have had the partitions in between, none of them counts as kept."""
    group = _Group()
    group.assign(4, [ONE, TWO])
    membership = group.assign(generation, [ONE, TWO], member)
    assert membership.lost == {ONE, TWO}
    assert not membership.holds([ONE])


async def test_a_waiter_hears_of_every_change() -> None:
    """Beginning and end of a rebalance both wake who waits, and tell whether reading may go on."""
    group = _Group()
    beginning = group.membership.changed()
    group.membership.on_partitions_revoked(())
    assert beginning.done()
    assert group.membership.rebalancing is True
    end = group.membership.changed()
    after = group.assign(1, [ONE])
    assert end.done()
    assert (after.rebalancing, after.dirty) == (False, True)


def test_a_broker_that_answers_nothing_is_lost_after_a_while() -> None:
    """Empty answers count as answers; without any for 15 s every fetch is Retryable, until one comes."""
    clock, consumer = ManualClock(), _Assigned()
    silence = Silence(clock)
    for consumer.answered_ms in range(3):
        silence.note(consumer, [ONE], heard=False)
        clock.advance(LOST_AFTER_MS)
    silence.note(consumer, [ONE], heard=False)
    clock.advance(1)
    for _ in range(2):
        with pytest.raises(Retryable, match="15 s"):
            silence.note(consumer, [ONE], heard=False)
    silence.note(consumer, [ONE], heard=True)
    clock.advance(LOST_AFTER_MS)
    silence.note(consumer, [ONE], heard=False)


@pytest.mark.parametrize(
    ("error", "kind", "breaks"),
    [
        (KafkaConnectionError("refused"), Retryable, False),
        (KafkaTimeoutError(), Retryable, False),
        (TimeoutError(), Retryable, False),
        (OutOfOrderSequenceNumber(), Retryable, True),
        (MessageSizeTooLargeError(), Refused, True),
        (GroupAuthorizationFailedError("g"), Misconfigured, True),
        (InvalidSessionTimeoutError(), Misconfigured, True),
        (InconsistentGroupProtocolError(), Retryable, True),
        (InvalidTimestampError(), Retryable, True),
    ],
)
def test_errors_say_what_to_do(error: Exception, kind: type[Exception], breaks: bool) -> None:
    """aiokafka's errors become ours, and those that leave a hole in the sequence are known."""
    problem = translated(error, "sending")
    assert type(problem) is kind
    assert problem.next_step
    assert breaks_sequence(error) is breaks
