"""A client that nobody holds any more leaves nothing behind."""

import gc
import threading

import httpx

from tests.unit.client.services import Maker, Services, until
from trimtab import AsyncTrimtab, Trimtab, process
from trimtab.core import Core


def client_of(services: Services, **options: float) -> Trimtab:
    """Return a client that no fixture holds."""
    return Trimtab("http://gateway", "http://assignment", transport=services, **options)  # type: ignore[arg-type]


def threads() -> set[threading.Thread]:
    """Return the threads of all clients."""
    return {each for each in threading.enumerate() if each.name.startswith("trimtab-")}


def test_collected_client_leaves_no_thread(services: Services) -> None:
    """A client that goes out of reach without a close sends what waits, and its threads end."""
    before = threads()
    client = client_of(services, flush_interval_ms=60_000, refresh_interval_ms=60_000).start()
    assert len(threads() - before) == 2
    for number in range(700):
        client.convert(f"user-{number}", "purchase")
    del client
    gc.collect()
    until(lambda: threads() <= before)
    assert len({event["event_id"] for event in services.events()}) == 700


def test_collected_client_in_an_outage_leaves_no_thread(services: Services) -> None:
    """Where the gateway is away the threads of such a client give up after a while, too."""
    before = threads()
    services.always = lambda _: httpx.ConnectError("nobody listens")
    client = client_of(services, exit_deadline_ms=300).start()
    client.convert("user-7", "purchase")
    del client
    gc.collect()
    until(lambda: threads() <= before)
    assert services.events() != []


async def test_collected_asyncio_client_leaves_no_thread(services: Services) -> None:
    """The client for asyncio is no different."""
    before = threads()
    client: Core[object] | None = await AsyncTrimtab(  # type: ignore[type-var]
        "http://gateway", "http://assignment", transport=services
    ).start()
    assert client is not None
    client.convert("user-7", "purchase")
    client = None
    gc.collect()
    until(lambda: threads() <= before)
    assert len(services.events()) == 1


def test_closed_client_is_forgotten(services: Services) -> None:
    """A closed client has no thread, and nothing is left to be done at the end of the process."""
    before, running = threads(), len(process._running)
    client = client_of(services).start()
    assert len(process._running) == running + 1
    assert client.started
    client.close()
    assert (threads(), len(process._running), client.started) == (before, running, False)
    client.close()


def test_end_of_the_process_closes_all(make: Maker, services: Services) -> None:
    """What the interpreter calls at its end sends what every open client holds."""
    clients = [make(flush_interval_ms=60_000) for _ in range(3)]
    for client in clients:
        client.convert("user-7", "purchase")
    process.close_all()
    assert len(services.events()) == 3
    assert not any(client.started for client in clients)


def test_worker_of_many_clients_has_one_end() -> None:
    """However many clients a worker of multiprocessing makes, what is done at its end is registered once."""
    process._in_worker(None)
    first = process._at_end
    process._in_worker(None)
    assert process._at_end is first
    assert first[1] is not None
    first[1].cancel()
    process._in_worker(None)  # as in a worker of its own, where nothing is registered yet
    assert process._at_end is not first
    assert process._at_end[1] is not None
    process._at_end[1].cancel()
