"""What the judge's agent does with a raw record."""

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from schemas.event import Contract
from services.metrics.entrypoints.worker import decoded
from tests.unit.metrics.events import T0, experiment, record


async def test_good_records_are_handed_on_poison_is_buried_tombstones_are_skipped() -> None:
    """Of three records one reaches the handler, one the dead letters, one nobody."""
    clock = ManualClock(T0)
    bus = MemoryBus(clock)
    producer = bus.producer()
    await producer.start()
    taken: list[Contract] = []

    async def handle(event: Contract) -> None:
        taken.append(event)

    take = decoded(handle, DeadLetters(producer, source="test", clock=clock), clock)
    for offset, value in enumerate([experiment("x").to_json(), b'{"type":"experiment"}', None]):
        await take(record("experiments", value, offset))
    await producer.stop()
    assert taken == [experiment("x")]
    assert [each.topic for each in bus.records("dead-letters")] == ["dead-letters"]
