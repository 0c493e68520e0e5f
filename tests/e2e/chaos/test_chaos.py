"""Ingest under everything at once: workers killed, one asleep past its lease, the broker killed. The audit
judges."""

import asyncio
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from deploy.local.stack import LocalStack
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from services.metrics.audit.report import as_text
from tests.e2e.chaos.crew import Worker, until
from tests.e2e.chaos.log import Place, Publisher, buried, ends, make_topics, places_of, send
from tests.e2e.chaos.record import (
    broken_laws,
    converted_in_sketches,
    truth_as_sums,
    units_in_sketches,
)
from tests.e2e.chaos.world import make_stream
from tests.e2e.chaos.yard import OpenYard, Yard

EMBEDDED = not any(os.environ.get(name) for name in ("KAFKA_BOOTSTRAP_SERVERS", "STACK"))
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not EMBEDDED, reason="somebody else runs Kafka: it is not ours to kill"),
]
SEED, UNITS, LOT = 4, 2_200, 50
FENCED = "another owner has it"


@dataclass(slots=True)
class Chaos:
    """What is done to a yard, act by act, and told afterwards. After each act the workers catch up, so that
    the next one meets them at work."""

    yard: Yard
    stack: LocalStack
    kills: int = 0
    told: list[str] = field(default_factory=list)

    async def play(self) -> None:
        """Kill one of two workers, make a zombie of one, kill the broker, kill both workers at once."""
        one, two = await self.yard.crew.start(), await self.yard.crew.start()
        await self.yard.until_shared(one, two)
        await self.yard.until_published()
        (three,) = await self._killed([one], two)
        await self._asleep(three, two)
        await self._without_broker(two, three)
        await self._killed([two, three])

    async def _killed(self, victims: list[Worker], *others: Worker) -> list[Worker]:
        """Kill -9 and start as many anew; return the new workers when each has its share."""
        began_s = time.monotonic()
        for victim in victims:
            await victim.kill()
        self.kills += len(victims)
        fresh = [await self.yard.crew.start() for _ in victims]
        await self.yard.until_shared(*others, *fresh)
        await self._tell(began_s, f"kill -9 of {_names(victims)}; {_names(fresh)} took over")
        return fresh

    async def _asleep(self, sleeper: Worker, other: Worker) -> None:
        """Stop a worker until its partitions are the other's, wake it, and see in its log that its lease was
        refused; then it must work on as a member."""
        began_s = time.monotonic()
        held = [number for number, pid in (await self.yard.record.owners()).items() if pid == sleeper.pid]
        sleeper.sleep()
        await self.yard.until_shared(other)
        before = len(sleeper.said())
        sleeper.wake()

        async def noticed() -> bool:
            return FENCED in sleeper.said()[before:]

        await until(noticed, "the zombie saw that it was fenced")
        line = next(line for line in sleeper.said()[before:].splitlines() if FENCED in line)
        await self.yard.until_shared(sleeper, other)
        await self._tell(began_s, f"SIGSTOP of {sleeper.pid}, which held {held}; awake it said: {line}")

    async def _without_broker(self, *workers: Worker) -> None:
        """Kill -9 the broker, which comes back; the workers must find their way by themselves."""
        began_s = time.monotonic()
        await asyncio.to_thread(self.stack.kill_kafka)
        await asyncio.to_thread(self.stack.wait_ready)
        await self.yard.until_published()
        await self.yard.until_shared(*workers)
        await self._tell(began_s, "kill -9 of the broker, the same workers went on")

    async def _tell(self, began_s: float, what: str) -> None:
        await self.yard.until_published()
        self.told.append(f"{what}; caught up after {time.monotonic() - began_s:.1f} s")


async def test_whatever_dies_the_audit_finds_every_number_equal(
    stack: LocalStack, open_yard: OpenYard
) -> None:
    """Three kill -9, a zombie and a dead broker under traffic: every number equals the log's and the
    sender's, all offsets are covered, no offset or epoch ever went back, and the dead letters are the
    poison."""
    await make_topics(stack.kafka_bootstrap_servers)
    yard, stream = await open_yard(), make_stream(seed=SEED, units=UNITS, now_ms=SystemClock().now_ms())
    await send(yard.bus, [_definition(each.experiment_id, each.to_json()) for each in stream.definitions])
    publisher = Publisher(yard.bus, stream.messages, lot=LOT)
    chaos = Chaos(yard, stack)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publisher.run())
        await chaos.play()
        assert publisher.sent < len(stream.messages), "chaos outlasted the traffic: lower LOT"
        publisher.hurry.set()
    await yard.until_published()
    audits, letters = await yard.audits(), await buried(yard.bus)
    sys.stdout.write("\n".join(["", *chaos.told, *await _summary(chaos, publisher, letters), ""]))
    sys.stdout.write("\n".join([*map(as_text, audits), ""]))
    end = await ends(yard.bus)
    for audit in audits:
        assert audit.equal, as_text(audit)
        assert {place: offset for place, offset in audit.offsets.items() if offset} == end
        assert audit.compared.numbers > 500
    found, truth = await yard.record.sums(), truth_as_sums(stream)
    assert {place: found.get(place) for place in truth} == truth
    assert units_in_sketches(found) == converted_in_sketches(found) != {}
    assert broken_laws(await yard.record.history()) == []
    assert await yard.record.falls() == 0
    # A worker that dies after it buried poison and before it published leaves that poison to be buried again.
    assert letters.keys() == (await places_of(yard.bus, stream.poisons)).keys()


async def _summary(chaos: Chaos, publisher: Publisher, letters: Counter[Place]) -> list[str]:
    """Return what happened, in a few lines: shown with `pytest -s`."""
    record = chaos.yard.record
    history = await record.history()
    epochs = {each.partition: each.epoch for each in sorted(history, key=lambda each: each[:2])}
    return [
        f"{chaos.kills} workers killed; {await record.snapshots()} snapshots; {sum(epochs.values())} leases "
        f"taken, epochs by partition {epochs}",
        f"{len(history)} writes to the leases seen, {len(broken_laws(history))} of them backwards",
        f"{publisher.sent} messages sent, {publisher.again} of them again; {len(letters)} are poison, with "
        f"{letters.total()} dead letters",
    ]


def _names(workers: list[Worker]) -> str:
    return " and ".join(str(worker.pid) for worker in workers)


def _definition(key: str, value: bytes) -> Message:
    return Message("experiments", key, value)
