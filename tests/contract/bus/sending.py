"""What every producer and admin must do."""

import asyncio

import pytest

from libs.common.bus.partitioner import partition_of
from libs.common.bus.ports import Message, Position
from libs.common.bus.rules import MAX_MESSAGE_BYTES
from libs.common.errors import Misconfigured, Refused
from schemas.topics import TOPICS, UNIT_PARTITIONS
from tests.contract.bus.place import (
    BOTH,
    CONVERSIONS,
    EXPOSURES,
    Place,
    fresh,
    messages,
    position,
    read_until,
    running,
)


class SendingContract:
    """The promises of Producer and Admin."""

    async def test_a_key_stays_in_the_partition_that_murmur2_names(self, place: Place) -> None:
        """Every message lands where the partitioner says, and the positions of a partition grow."""
        sent = messages(fresh(), 40)
        async with running(place.bus.producer()) as producer:
            landed = [position(each) for each in await producer.send_all(sent)]
        for message, each in zip(sent, landed, strict=True):
            assert each.partition == partition_of(message.key.encode(), UNIT_PARTITIONS)
        for partition in range(UNIT_PARTITIONS):
            offsets = [each.offset for each in landed if each.partition == partition]
            assert offsets == sorted(set(offsets))

    async def test_everything_of_a_message_arrives(self, place: Place) -> None:
        """Key, value, headers and position of a message, and a tombstone, are read as they were sent."""
        run = fresh()
        async with running(place.bus.producer()) as producer, running(place.bus.reader(["models"])) as reader:
            first = await producer.send(Message("models", f"{run}-m", "größe".encode(), {"ce_id": "ü"}))
            second = await producer.send(Message("models", f"{run}-m", None))
            found = await read_until([reader], lambda each: len(each) == 2, run=run)
        assert [Position(each.topic, each.partition, each.offset) for each in found] == [first, second]
        assert [each.value for each in found] == ["größe".encode(), None]
        assert found[0].key == f"{run}-m".encode()
        assert found[0].headers == (("ce_id", "ü".encode()),)
        assert 0 <= found[1].timestamp_ms - found[0].timestamp_ms < 60_000

    async def test_answers_stand_at_their_places(self, place: Place) -> None:
        """In a batch the message that is too large is refused, and all the others arrive in order."""
        run = fresh()
        sent = messages(run, 9, units=1)
        sent[4] = Message(EXPOSURES, f"{run}-0", bytes(MAX_MESSAGE_BYTES + 1))
        async with running(place.bus.producer()) as producer:
            answers = await producer.send_all(sent)
            assert await producer.send_all([]) == []
        assert isinstance(answers[4], Refused)
        offsets = [position(each).offset for number, each in enumerate(answers) if number != 4]
        assert offsets == sorted(offsets)

    async def test_a_lot_is_answered_message_by_message(self, place: Place) -> None:
        """Hundreds of messages of two topics, some larger than a batch and one that is refused: each answer
        is the place where its own message lies, and messages of a key keep their order."""
        run = fresh()
        sent = messages(run, 300, units=7) + messages(run, 300, topic=CONVERSIONS, units=7)
        large = [Message(EXPOSURES, f"{run}-3", bytes([number]) * 400_000) for number in range(3)]
        sent[100:100] = [*large, Message(EXPOSURES, f"{run}-3", bytes(MAX_MESSAGE_BYTES + 1))]
        async with running(place.bus.producer()) as producer, running(place.bus.reader(BOTH)) as reader:
            answers = await producer.send_all(sent)
            found = await read_until([reader], lambda each: len(each) == 603, run=run)
        assert isinstance(answers.pop(103), Refused)
        del sent[103]
        landed = [position(each) for each in answers]
        values = {Position(each.topic, each.partition, each.offset): each.value for each in found}
        assert [values[each] for each in landed] == [message.value for message in sent]
        for key in {message.key for message in sent}:
            for topic in BOTH:
                pairs = zip(sent, landed, strict=True)
                offsets = [at.offset for message, at in pairs if (message.topic, message.key) == (topic, key)]
                assert offsets == sorted(offsets)

    async def test_the_largest_message_passes_and_a_larger_one_is_refused(self, place: Place) -> None:
        """A message of exactly the limit arrives whole; one byte more is Refused."""
        run = fresh()
        key = f"{run}-k"
        whole = bytes(MAX_MESSAGE_BYTES - len(key))
        async with running(place.bus.producer()) as producer, running(place.bus.reader(["alerts"])) as reader:
            await producer.send(Message("alerts", key, whole))
            with pytest.raises(Refused, match="larger than"):
                await producer.send(Message("alerts", key, whole + b"x"))
            found = await read_until([reader], bool, run=run)
        assert [each.value for each in found] == [whole]

    async def test_unlisted_topics_are_refused_before_anything_happens(self, place: Place) -> None:
        """A topic that the schemas do not list is Misconfigured for all, and nothing of its batch is sent."""
        run = fresh()
        async with running(place.bus.producer()) as producer:
            before = await producer.send(Message(EXPOSURES, f"{run}-a", b"1"))
            with pytest.raises(Misconfigured, match="nowhere"):
                await producer.send_all([Message(EXPOSURES, f"{run}-a", b"2"), Message("nowhere", "k", b"")])
            after = await producer.send(Message(EXPOSURES, f"{run}-a", b"3"))
        assert after.offset == before.offset + 1
        for names in (["nowhere"], []):
            with pytest.raises(Misconfigured):
                place.bus.reader(names)
            with pytest.raises(Misconfigured):
                place.bus.consumer(group=run, topics=names)
            with pytest.raises(Misconfigured):
                await place.bus.admin().ensure_topics(names)

    async def test_topics_are_created_once(self, place: Place) -> None:
        """Asking for all topics several times at once gives the numbers that the schemas state."""
        wanted = {name: topic.partitions for name, topic in TOPICS.items()}
        answers = await asyncio.gather(*(place.bus.admin().ensure_topics(list(TOPICS)) for _ in range(3)))
        assert [dict(each) for each in answers] == [wanted] * 3
