"""aiokafka's errors in the words of `libs/common/errors.py`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from libs.common.bus.kafka.limits import SESSION_TIMEOUT_MS
from libs.common.errors import Misconfigured, Refused, Retryable

_FORBIDDEN = (AuthenticationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_WAITING: Mapping[type[Exception], tuple[str, str]] = MappingProxyType(
    {
        InconsistentGroupProtocolError: (
            "the members of the group share partitions out in another way",
            "stop the other program that reads in this group, or give it a group of its own",
        ),
        InvalidTimestampError: (
            "the broker takes no stamp so far ahead of its clock",
            "set this machine's clock, or the broker's",
        ),
    }
)
"""Why, and what to do, for errors that are over as soon as somebody has seen to them."""


def translated(error: Exception, what: str) -> Retryable | Refused | Misconfigured:
    """Return what `error` means for the caller. Unknown ones are Retryable: the record is still there."""
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return Refused(
            f"{what}: the broker takes no message of this size",
            field="value",
            next_step="send less in one event, or raise the topic's max.message.bytes",
        )
    if isinstance(error, _FORBIDDEN):
        return Misconfigured(f"{what}: {error}", next_step="grant this client the right, then start again")
    if isinstance(error, InvalidSessionTimeoutError | InvalidGroupIdError):
        return Misconfigured(
            f"{what}: {error}",
            next_step=f"let the broker's group.min.session.timeout.ms and group.max.session.timeout.ms "
            f"take {SESSION_TIMEOUT_MS}, and name a group",
        )
    if isinstance(error, TimeoutError | KafkaTimeoutError):
        return Retryable(f"{what}: Kafka has not answered in time", next_step="wait until Kafka is back")
    why, next_step = _WAITING.get(type(error), ("", "wait until Kafka is back"))
    return Retryable(f"{what}: {why} ({error})" if why else f"{what}: {error}", next_step=next_step)


def breaks_sequence(error: BaseException) -> bool:
    """Return True when a producer must be made anew: a batch that failed for good leaves a hole in the
    sequence numbers of an idempotent producer, and everything after it would be refused."""
    if isinstance(error, ProducerClosed):
        return True
    return isinstance(error, KafkaError) and not error.retriable and not isinstance(error, KafkaTimeoutError)


@asynccontextmanager
async def answered(what: str) -> AsyncIterator[None]:
    """Translate the errors of a call to Kafka; `what` says what was tried."""
    try:
        yield
    except (KafkaError, TimeoutError, OSError) as error:
        raise translated(error, what) from error
