"""Asking the service for each assignment: with and without asyncio, well and in an outage."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.unit.client.services import until
from trimtab import Assignment, AsyncTrimtab, Trimtab

Answer = Callable[[httpx.Request], httpx.Response]
ASSIGNED = {
    "key": "digits",
    "variant": "challenger",
    "model_version": "2",
    "payload": None,
    "experiment_id": "digits-v2",
    "revision": 3,
    "in_experiment": True,
    "reason": "assigned",
    "value": "2",
    "shadows": [],
    "attributes": ["country"],
    "a newer field": 1,
}


class Service:
    """An assignment service that is told what to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: Answer = lambda _: httpx.Response(200, json=ASSIGNED)
        self.transport = httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/events":
            return httpx.Response(
                202, json={"accepted": len(json.loads(request.content)["events"]), "rejected": []}
            )
        self.asked.append((request.url.path, json.loads(request.content)))
        return self.answer(request)

    def sync(self) -> Trimtab:
        """Return a started client that asks."""
        return Trimtab("http://gateway", "http://assignment/", remote=True, transport=self.transport).start()

    def aio(self) -> AsyncTrimtab:
        """Return a client for asyncio that asks."""
        return AsyncTrimtab("http://gateway", "http://assignment", remote=True, transport=self.transport)

    async def ask(self, kind: str, *arguments: Any, **options: Any) -> tuple[Assignment, int]:
        """Return what one kind of client was answered, and how many errors it counted."""
        if kind == "sync":
            with self.sync() as client:
                return client.assign(*arguments, **options), client.stats().assign_errors
        async with self.aio() as other:
            return await other.assign(*arguments, **options), other.stats().assign_errors


def no_service(_: httpx.Request) -> httpx.Response:
    """Refuse the connection."""
    raise httpx.ConnectError("nobody listens")


both = pytest.mark.parametrize("kind", ["sync", "aio"])


@both
async def test_service_decides(kind: str) -> None:
    """The service is asked with unit and attributes, and its answer is the assignment."""
    service = Service()
    assignment, errors = await service.ask(
        kind, "user-7", "digits", {"country": "DE", "odd": object(), "n": float("nan")}
    )
    assert service.asked == [
        ("/v1/assignments/digits", {"unit_id": "user-7", "attributes": {"country": "DE"}})
    ]
    assert (assignment.variant, assignment.revision, assignment.attributes) == ("challenger", 3, ("country",))
    assert (assignment.in_experiment, assignment.value, errors) == (True, "2", 0)


@both
async def test_exposure_can_wait(kind: str) -> None:
    """With expose=False the service is asked not to tell the exposure."""
    service = Service()
    await service.ask(kind, "user-7", "digits", expose=False)
    assert service.asked[0][1]["expose"] is False


@both
@pytest.mark.parametrize(
    "answer",
    [
        no_service,
        lambda _: httpx.Response(503, text="down"),
        lambda _: httpx.Response(404, text="another program"),
        lambda _: httpx.Response(200, text="<html>"),
        lambda _: httpx.Response(200, json=[1]),
        lambda _: httpx.Response(200, json={"key": "digits", "reason": "assigned", "revision": "x"}),
        lambda _: httpx.Response(200, content=b'{"key": "digits", "reason": "assigned", "revision": 1e999}'),
        lambda _: httpx.Response(200, content=b"x" * 2_000_000),
    ],
)
async def test_no_answer_is_unreachable(kind: str, answer: Answer) -> None:
    """Whatever keeps the service from answering, the caller's default applies, and it is counted."""
    service = Service()
    service.answer = answer
    assignment, errors = await service.ask(kind, "user-7", "digits")
    assert (assignment.reason, assignment.variant, errors) == ("unreachable", None, 1)


@both
@pytest.mark.parametrize(
    ("unit_id", "key", "reason"),
    [(None, "digits", "bad_unit"), ("u", "a/b", "unknown"), ("u", "..", "unknown"), ("u", None, "unknown")],
)
async def test_what_cannot_be_asked_is_not(kind: str, unit_id: Any, key: Any, reason: str) -> None:
    """What is no unit or no key is answered here."""
    service = Service()
    assignment, _ = await service.ask(kind, unit_id, key)
    assert (assignment.reason, service.asked) == (reason, [])


@both
async def test_closed_client_is_unreachable(kind: str) -> None:
    """Who asks a client that has been closed gets the default, and asks nobody."""
    service = Service()
    if kind == "sync":
        client = service.sync()
        client.close()
        assignment = client.assign("user-7", "digits")
    else:
        other = service.aio()
        await other.aclose()
        assignment = await other.assign("user-7", "digits")
    assert (assignment.reason, service.asked) == ("unreachable", [])


@both
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_question_at_fault_is_no_outage(kind: str, status: int) -> None:
    """A question that the service refuses fails alone: the next is asked."""
    service = Service()
    service.answer = lambda _: httpx.Response(status, json={"detail": "no"})
    assert (await service.ask(kind, "user-7", "digits"))[0].reason == "failed"
    with service.sync() as client:
        for _ in range(3):
            client.assign("user-7", "digits")
    assert len(service.asked) == 4


def test_outage_costs_few_questions() -> None:
    """While the service is down few calls ask it; when it is back its answers count again."""
    service = Service()
    service.answer = no_service
    with service.sync() as client:
        for _ in range(1_000):
            assert client.assign("user-7", "digits").reason == "unreachable"
        assert len(service.asked) < 20
        assert client.stats().assign_errors == 1_000
        service.answer = lambda _: httpx.Response(200, json=ASSIGNED)
        until(lambda: client.assign("user-7", "digits").in_experiment)
        assert client.stats().assign_error == ""


async def test_slow_service_is_given_up_in_time() -> None:
    """With asyncio a service that does not answer is given up at the time-out, and the loop goes on."""

    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    client = AsyncTrimtab(
        "http://gateway",
        "http://assignment",
        remote=True,
        assign_timeout_ms=50,
        transport=httpx.MockTransport(hang),
    )
    began = time.monotonic()
    answers = await asyncio.gather(*(client.assign(f"user-{number}", "digits") for number in range(50)))
    assert {answer.reason for answer in answers} == {"unreachable"}
    assert time.monotonic() - began < 5
    assert (await client.assign("user-7", "digits")).reason == "unreachable"
    await client.aclose(deadline_ms=100)


async def test_cancellation_reaches_the_caller() -> None:
    """A caller that is cancelled while it waits is cancelled, and the client serves the next."""
    service = Service()
    entered = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = AsyncTrimtab(
        "http://gateway",
        "http://assignment",
        remote=True,
        assign_timeout_ms=60_000,
        transport=httpx.MockTransport(hang),
    )
    task = asyncio.create_task(client.assign("user-7", "digits"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.asked == []
    await client.aclose(deadline_ms=100)
