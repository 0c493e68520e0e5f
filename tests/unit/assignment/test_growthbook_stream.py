"""The stream of changes: the newest payload to every listener, however slow, until the service stops."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.types import Message

from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from schemas.audience import Hashing
from schemas.experiments import Policy
from services.assignment.entrypoints import growthbook_stream
from services.assignment.entrypoints.growthbook_feed import Feed
from services.assignment.entrypoints.growthbook_stream import GrowthbookStream
from services.assignment.handlers.create import create
from services.assignment.handlers.pause import pause
from services.assignment.handlers.read_growthbook import GrowthbookReader
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.handlers.resume import resume
from services.assignment.ports import Desk
from tests.unit.assignment.make import definition, desk, order, store_of

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}}


@dataclass
class Listener:
    """A client that reads the stream; slow while `reading` is not set."""

    chunks: list[bytes] = field(default_factory=list)
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        """Never leave."""
        await asyncio.Future()
        raise AssertionError

    async def send(self, message: Message) -> None:
        """Take a piece of the answer."""
        await self.reading.wait()
        if message["type"] == "http.response.body":
            self.chunks.append(message["body"])
            self.arrived.set()

    @property
    def events(self) -> list[dict[str, str]]:
        """Return the events so far, as a browser would read them."""
        found = []
        for block in b"".join(self.chunks).decode().split("\n\n"):
            event: dict[str, str] = {}
            for line in block.splitlines():
                name, _, value = line.partition(": ")
                event[name] = f"{event[name]}\n{value}" if name in event else value
            if "event" in event:
                found.append(event)
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(10):
            while not holds():
                await self.arrived.wait()
                self.arrived.clear()


@dataclass
class Scene:
    """A feed on an experiment that runs."""

    desk: Desk
    feed: Feed

    @asynccontextmanager
    async def listening(self, last_event_id: str = "", *, slow: bool = False) -> AsyncIterator[Listener]:
        """Listen while the block lasts."""
        await self.feed.look()
        listener = Listener()
        if not slow:
            listener.reading.set()
        stream = GrowthbookStream(self.feed, last_event_id)
        task = asyncio.create_task(stream(SCOPE, listener.receive, listener.send))
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until_there_are(feed: Feed, listeners: int) -> None:
    """Wait until so many listen."""
    async with asyncio.timeout(10):
        while len(feed) != listeners:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
async def scene() -> Scene:
    """Return a feed of at most two listeners."""
    place = desk()
    asked = definition(hashing=Hashing.GROWTHBOOK_V2, policy=Policy(ramp=()))
    await create(place, asked, by="ada", start=True)
    return Scene(place, Feed(GrowthbookReader(RulesReader(place.store), place.clock), max_listeners=2))


async def test_listener_gets_the_payload_and_each_change(scene: Scene) -> None:
    """The first event is the payload now, so that nothing is missed since the fetch; then one a change."""
    async with scene.listening() as listener:
        await listener.until(lambda: len(listener.events) == 1)
        await pause(scene.desk, order())
        await scene.feed.look()
        await listener.until(lambda: len(listener.events) == 2)
        await scene.feed.look()
    first, second = listener.events
    assert (first["event"], second["event"]) == ("features", "features")
    assert "rules" in json.loads(first["data"])["features"]["checkout"]
    assert json.loads(second["data"])["features"]["checkout"] == {"defaultValue": "blue"}
    assert first["id"] != second["id"]
    assert listener.chunks[0].startswith(b"retry: ")


async def test_who_comes_back_gets_only_what_is_new(scene: Scene) -> None:
    """A client that names the event it has is not sent the same again."""
    async with scene.listening() as listener:
        await listener.until(lambda: len(listener.events) == 1)
        known = listener.events[0]["id"]
    async with scene.listening(known) as listener:
        await listener.until(lambda: bool(listener.chunks))
        await pause(scene.desk, order())
        await scene.feed.look()
        await listener.until(lambda: bool(listener.events))
        assert json.loads(listener.events[0]["data"])["features"]["checkout"] == {"defaultValue": "blue"}


async def test_slow_listener_gets_the_newest(scene: Scene) -> None:
    """A reader that stands still misses what was replaced meanwhile and holds nobody up."""
    async with scene.listening(slow=True) as slow, scene.listening() as quick:
        await quick.until(lambda: len(quick.events) == 1)
        for step in (pause, resume, pause):
            await step(scene.desk, order())
            seen = len(quick.events)
            await scene.feed.look()
            await quick.until(lambda seen=seen: len(quick.events) == seen + 1)  # type: ignore[misc]
        slow.reading.set()
        await slow.until(lambda: bool(slow.events))
        assert len(slow.events) == 1
        assert slow.events[0]["id"] == quick.events[-1]["id"]
        assert len(quick.events) == 4


async def test_reader_that_takes_nothing_is_cut_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that does not read for too long loses its place."""
    monkeypatch.setattr(growthbook_stream, "SLOW_READER_S", 0.01)
    async with scene.listening(slow=True):
        await until_there_are(scene.feed, 1)
        await until_there_are(scene.feed, 0)


async def test_streams_are_limited(scene: Scene) -> None:
    """Past the limit there is a clear error; a place that is left can be taken."""
    async with scene.listening():
        async with scene.listening():
            await until_there_are(scene.feed, 2)
            third = Listener()
            with pytest.raises(Retryable, match="2 streams are open"):
                await GrowthbookStream(scene.feed, "")(SCOPE, third.receive, third.send)
        assert len(scene.feed) == 1
        async with scene.listening():
            await until_there_are(scene.feed, 2)
    assert len(scene.feed) == 0


async def run_until_stopped(feed: Feed, during: Callable[[], Awaitable[None]]) -> None:
    """Run the feed while something happens, then stop it."""
    stop = Stop()
    running = asyncio.create_task(feed.run(stop))
    await during()
    stop.set("the test is over")
    async with asyncio.timeout(10):
        await running


async def test_feed_looks_by_itself_and_ends_its_streams(scene: Scene) -> None:
    """A change is told without being asked for, an outage of the database is waited out, and when the service
    stops every stream ends by itself."""
    async with scene.listening() as listener:

        async def changes() -> None:
            await listener.until(lambda: len(listener.events) == 1)
            store_of(scene.desk).down = True
            await asyncio.sleep(0)
            store_of(scene.desk).down = False
            await pause(scene.desk, order())
            await listener.until(lambda: len(listener.events) == 2)

        await run_until_stopped(scene.feed, changes)
        await listener.until(lambda: listener.chunks[-1] == b"")
    assert scene.feed.closed
