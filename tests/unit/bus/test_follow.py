"""A follower handles everything in order, and gives up on nothing that can be waited out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from libs.common.bus.control import control_message
from libs.common.bus.dead_letters import DeadLetterLimit, DeadLetters
from libs.common.bus.follow import Follower
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.errors import Conflict, LineStopped, Misconfigured, Poison, Refused, Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import MAX_SILENCE_MS, Health
from schemas.event import Contract
from schemas.facts import Conversion

TOPIC = "conversions"


async def state(reached: Callable[[], bool]) -> None:
    """Wait until a state is reached, at most 20 s."""
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - any state, not one event
            await asyncio.sleep(0.001)


@dataclass
class Stage:
    """A bus with one follower on it. `trouble` is raised by the handler, error by error."""

    bus: MemoryBus = field(default_factory=lambda: MemoryBus(ManualClock()))
    handled: list[str] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    health: Health = field(default_factory=lambda: Health(ManualClock()))

    async def handle(self, event: Contract) -> None:
        """Note the event, or fail."""
        if self.trouble:
            raise self.trouble.pop(0)
        assert isinstance(event, Conversion)
        self.handled.append(event.event_id)

    async def follower(self, *, group: str | None, limit: int = 100) -> Follower:
        """Return a follower that hands conversions to `handle`."""
        producer = self.bus.producer()
        await producer.start()
        letters = DeadLetters(producer, source="test", clock=ManualClock(), limit=DeadLetterLimit(run=limit))
        return Follower(
            self.bus,
            group=group,
            handlers={TOPIC: self.handle},
            dead_letters=letters,
            clock=ManualClock(),
            health=self.health,
        )

    async def send(self, *names: str) -> None:
        """Send conversions of one unit with these event ids; `bad` is no event, `gone` is a tombstone."""
        producer = self.bus.producer()
        await producer.start()
        for name in names:
            event = Conversion(event_id=name, occurred_at_ms=1, unit_id="u", name="purchase")
            message = control_message(TOPIC, "u", event, source="test", clock=ManualClock())
            broken = {"bad": b"{", "gone": None}
            await producer.send(Message(TOPIC, "u", broken[name]) if name in broken else message)

    async def run(self, follower: Follower, until: Callable[[], bool]) -> None:
        """Let the follower run until the condition holds."""
        running = asyncio.ensure_future(follower.run(self.stop))
        await state(lambda: until() or running.done())
        self.stop.set("the test is over")
        await running


async def test_everything_is_handled_in_order_and_committed() -> None:
    """Good events reach the handler, tombstones are skipped, poison is buried, all is committed."""
    stage = Stage()
    await stage.send("e1", "gone", "bad", "e2")
    follower = await stage.follower(group="g")
    assert not stage.health.ready()
    await stage.run(follower, lambda: stage.handled == ["e1", "e2"] and follower.caught_up.is_set())
    assert stage.health.ready()
    (letter,) = stage.bus.records("dead-letters")
    assert b'"offset":2,' in (letter.value or b"")
    assert list(stage.bus.committed("g").values()) == [4]


async def test_a_group_goes_on_and_a_reader_begins_anew() -> None:
    """A second run of a group handles only what is new; a reader handles everything again; both catch up."""
    stage = Stage()
    await stage.send("e1")
    await stage.run(await stage.follower(group="g"), lambda: bool(stage.handled))
    for group, expected in (("g", ["e1"]), (None, ["e1", "e1"])):
        stage.stop = Stop()
        follower = await stage.follower(group=group)
        await stage.run(follower, follower.caught_up.is_set)
        assert stage.handled == expected


@pytest.mark.parametrize("error", [Retryable("the database is away"), Conflict("changed underneath")])
async def test_what_can_be_waited_out_is_tried_again(error: Exception) -> None:
    """A handler that fails for now is called again with the same event, before the next one."""
    stage = Stage(trouble=[error, error])
    await stage.send("e1", "e2")
    await stage.run(await stage.follower(group="g"), lambda: len(stage.handled) == 2)
    assert stage.handled == ["e1", "e2"]
    assert stage.bus.records("dead-letters") == []


@pytest.mark.parametrize("error", [Poison("no such model"), Refused("too old"), KeyError("a defect")])
async def test_what_cannot_be_handled_is_buried(error: Exception) -> None:
    """Poison, a refusal or a defect costs this record only, and its letter says why."""
    stage = Stage(trouble=[error])
    await stage.send("e1", "e2")
    await stage.run(await stage.follower(group="g"), lambda: stage.handled == ["e2"])
    (letter,) = stage.bus.records("dead-letters")
    assert str(error).encode() in (letter.value or b"")


async def test_a_person_is_called_when_it_must_be() -> None:
    """Misconfigured ends the run; the record before it is committed, this one is not."""
    stage = Stage()
    await stage.send("e1", "e2")

    async def handle(event: Contract) -> None:
        if stage.handled:
            raise Misconfigured("no key")
        await Stage.handle(stage, event)

    follower = await stage.follower(group="g")
    follower._handlers = {TOPIC: handle}
    with pytest.raises(Misconfigured, match="no key"):
        await stage.run(follower, lambda: False)
    assert list(stage.bus.committed("g").values()) == [1]


async def test_too_much_poison_stops_the_line() -> None:
    """Past the limit the run ends with LineStopped, and starting again goes on at the same record."""
    stage = Stage()
    await stage.send("bad", "bad", "bad", "e1")
    with pytest.raises(LineStopped):
        await stage.run(await stage.follower(group="g", limit=2), lambda: False)
    assert list(stage.bus.committed("g").values()) == [2]
    stage.stop = Stop()
    await stage.run(await stage.follower(group="g", limit=2), lambda: stage.handled == ["e1"])


async def test_an_outage_is_waited_out() -> None:
    """While no broker answers the follower is not ready and says why; afterwards it goes on, nothing lost."""
    stage = Stage()
    follower = await stage.follower(group="g")
    await stage.send("e1")
    stage.bus.down()
    running = asyncio.ensure_future(follower.run(stage.stop))
    await state(lambda: "no broker answers" in str(stage.health.reasons()))
    stage.bus.up()
    await state(follower.caught_up.is_set)
    stage.stop.set("enough")
    await running
    assert stage.handled == ["e1"]
    assert stage.health.ready()


async def test_it_stops_in_the_middle_of_waiting() -> None:
    """A stop while a handler fails again and again ends the run, and the record is not committed."""
    stage = Stage(trouble=[Retryable("away")] * 1_000)
    await stage.send("e1")
    follower = await stage.follower(group="g")
    await stage.run(follower, lambda: "away" in str(stage.health.reasons()))
    assert stage.bus.committed("g") == {}
    assert not follower.caught_up.is_set()


async def test_a_follower_that_hangs_is_not_covered_up_by_others() -> None:
    """A handler that never returns ends the follower's own heartbeat, whoever else beats."""
    clock, entered = ManualClock(), asyncio.Event()
    stage = Stage(health=Health(clock))

    async def hang(event: Contract) -> None:
        entered.set()
        await asyncio.Event().wait()

    stage.handle = hang  # type: ignore[method-assign]
    await stage.send("one")
    running = asyncio.ensure_future((await stage.follower(group=None)).run(stage.stop))
    await state(entered.is_set)
    clock.advance(MAX_SILENCE_MS + 1)
    stage.health.beat("line")
    assert stage.health.silent() == [f"follows {TOPIC}"]
    running.cancel()
    await asyncio.wait({running})
