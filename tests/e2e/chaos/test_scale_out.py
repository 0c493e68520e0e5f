"""The same facts through one worker, through workers that come and go, and on another number of partitions:
not a digit may depend on it."""

import asyncio
from collections.abc import Sequence

import pytest

from deploy.local.stack import LocalStack
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from services.metrics.audit.report import as_text
from tests.e2e.chaos.log import Publisher, make_topics, send
from tests.e2e.chaos.record import Sums, broken_laws, truth_as_sums
from tests.e2e.chaos.world import Stream, make_stream
from tests.e2e.chaos.yard import OpenYard, Yard

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SEED, UNITS, LOT = 5, 1_500, 100
OTHER_PARTITIONS = 7
TABLES = {"experiments", "variants", "metrics", "sketches", "hours", "segments"}


async def test_neither_workers_nor_partitions_change_a_digit(stack: LocalStack, open_yard: OpenYard) -> None:
    """One worker; two of which one joins in the middle and the other leaves before the end; two on seven
    partitions instead of four: every summed number is the same, is the sender's, and passes the audit."""
    stream = make_stream(seed=SEED, units=UNITS, now_ms=SystemClock().now_ms())
    await make_topics(stack.kafka_bootstrap_servers)
    coming_and_going = await _come_and_go(await open_yard(), stream)
    alone = await _alone(await open_yard())
    await make_topics(stack.kafka_bootstrap_servers, OTHER_PARTITIONS)
    spread = await _spread(await open_yard(), stream)
    assert coming_and_going == alone == spread
    truth = truth_as_sums(stream)
    assert {place: alone.get(place) for place in truth} == truth
    assert {place[0] for place in alone} == TABLES


async def _come_and_go(yard: Yard, stream: Stream) -> Sums:
    """While facts flow, a second worker joins and the first leaves."""
    await send(yard.bus, _definitions(stream))
    publisher = Publisher(yard.bus, stream.messages, lot=LOT)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publisher.run())
        first = await yard.crew.start()
        await yard.until_shared(first)
        await yard.until_published()
        second = await yard.crew.start()
        await yard.until_shared(first, second)
        await yard.until_published()
        await first.leave()
        await yard.until_shared(second)
        assert publisher.sent < len(stream.messages), "the traffic was over too soon: lower LOT"
        publisher.hurry.set()
    return await _outcome(yard)


async def _alone(yard: Yard) -> Sums:
    """One worker reads what is there."""
    await yard.crew.start()
    return await _outcome(yard)


async def _spread(yard: Yard, stream: Stream) -> Sums:
    """Two workers share more partitions."""
    await send(yard.bus, [*_definitions(stream), *stream.messages])
    one, two = await yard.crew.start(), await yard.crew.start()
    await yard.until_shared(one, two, partitions=OTHER_PARTITIONS)
    return await _outcome(yard)


async def _outcome(yard: Yard) -> Sums:
    """Return the sums when all is published, after the audit and the laws."""
    await yard.until_published()
    for audit in await yard.audits():
        assert audit.equal, as_text(audit)
    assert broken_laws(await yard.record.history()) == []
    assert await yard.record.falls() == 0
    await yard.crew.end()
    return await yard.record.sums()


def _definitions(stream: Stream) -> Sequence[Message]:
    return [Message("experiments", each.experiment_id, each.to_json()) for each in stream.definitions]
