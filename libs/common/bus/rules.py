"""What both buses refuse, and how they share partitions out: one place, so that they cannot differ."""

from collections.abc import Iterable, Mapping, Sequence

from libs.common.bus.ports import Message, TopicPartition
from libs.common.errors import Misconfigured, Refused
from schemas.topics import TOPICS, UNIT_TOPICS

MAX_MESSAGE_BYTES = 1_000_000
"""Key, value and headers together. Below Kafka's default `message.max.bytes` (1,048,588) with its framing."""


def check_topics(names: Iterable[str]) -> None:
    """Raise Misconfigured when a name is not in `schemas/topics.py`, or there is none."""
    names = list(names)
    unknown = sorted(set(names) - TOPICS.keys())
    if unknown:
        raise Misconfigured(
            f"no such topic: {', '.join(unknown)}",
            next_step="list it in schemas/topics.py or correct the name",
        )
    if not names:
        raise Misconfigured("no topic is named", next_step="name at least one of schemas/topics.py")


def message_bytes(message: Message) -> int:
    """Return the size of a message: key, value and headers, without Kafka's framing."""
    texts = "".join((message.key, *message.headers, *message.headers.values()))
    return len(texts.encode()) + len(message.value or b"")


def too_large(message: Message) -> Refused | None:
    """Return the refusal of a message above MAX_MESSAGE_BYTES, None when it fits."""
    size = message_bytes(message)
    if size <= MAX_MESSAGE_BYTES:
        return None
    return Refused(
        f"a message of {size} bytes for {message.topic} is larger than {MAX_MESSAGE_BYTES}",
        field="value",
        next_step="send less in one event: fewer features or shorter texts",
    )


def check_unit_topics(partitions: Mapping[str, int]) -> None:
    """Raise Misconfigured when the unit-keyed topics among these differ in their number of partitions."""
    counts = {name: partitions[name] for name in UNIT_TOPICS if name in partitions}
    if len(set(counts.values())) > 1:
        raise Misconfigured(
            f"the unit-keyed topics differ in their number of partitions: {counts}",
            next_step="choose the number when the topics are made: delete the one that is still empty and "
            "make it anew with the number of the others; adding partitions sends units away from their state",
        )


def share_out(
    members: Sequence[str], topics: Mapping[str, frozenset[str]], partitions: Mapping[str, int]
) -> dict[str, frozenset[TopicPartition]]:
    """Return each member's partitions as Kafka's range assignor gives them: topic by topic, members in the
    order of their names, the first ones one more where it does not come out even. `topics` says what each
    member reads. Members that read the same topics of equal size get equal partition numbers of each."""
    shares: dict[str, set[TopicPartition]] = {member: set() for member in members}
    for topic in sorted(frozenset().union(*topics.values())):
        readers = sorted(member for member in members if topic in topics[member])
        each, extra = divmod(partitions[topic], len(readers))
        start = 0
        for place, member in enumerate(readers):
            end = start + each + (place < extra)
            shares[member].update(TopicPartition(topic, number) for number in range(start, end))
            start = end
    return {member: frozenset(share) for member, share in shares.items()}


def overtaken(partition: TopicPartition, wanted: int, first: int, end: int) -> Misconfigured:
    """Return the error for a wanted offset that the log does not hold."""
    if wanted < first:
        return Misconfigured(
            f"{partition}: retention has overtaken the wanted offset {wanted}; the log begins at {first}",
            next_step="records are lost to this reader: restore a newer snapshot, or delete its state (or "
            "its group's offsets) to begin anew; raise retention.ms",
        )
    return Misconfigured(
        f"{partition}: the wanted offset {wanted} lies behind the end of the log, {end}",
        next_step="the topic was deleted and created anew: delete this reader's state to begin anew",
    )
