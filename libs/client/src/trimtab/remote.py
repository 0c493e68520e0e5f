"""Asking the assignment service for each assignment, within a time-out and without waiting in an outage."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import httpx

from trimtab.asking import MAX_ANSWER_BYTES, Question, Reply, ask_for, read_reply, unreachable
from trimtab.assignments import Assignment
from trimtab.breaker import Breaker
from trimtab.clock import monotonic_ms
from trimtab.network import Network
from trimtab.stats import Tally

log = logging.getLogger("trimtab")

_HEADERS = {"content-type": "application/json"}


class Asking:
    """What asking has in common, with and without asyncio. The service tells the exposure itself."""

    def __init__(
        self, base_url: str, timeout_ms: float, transport: httpx.BaseTransport | None, tally: Tally
    ) -> None:
        """Questions without an answer are counted in the tally as `assign_errors`. `transport` replaces the
        network, in tests; with asyncio one that serves both kinds of client, such as httpx.MockTransport."""
        self._base_url = base_url
        self._timeout_ms = timeout_ms
        self._transport = transport
        self._tally = tally
        self._breaker = Breaker()
        self.error = ""

    def reborn(self) -> None:
        """Leave a parent process's connections alone."""
        self._breaker.reborn()

    def question(self, key: str, unit_id: str, attributes: Mapping[str, Any], *, expose: bool) -> Question:
        """Return the question as it is sent."""
        return ask_for(self._base_url, key, unit_id, attributes, expose=expose)

    def _left_alone(self, key: str) -> Assignment:
        self._tally.add("assign_errors")
        return unreachable(key, "").assignment

    def _settle(self, reply: Reply) -> Assignment:
        if reply.outage:
            if not self.error:  # once per outage
                log.warning("trimtab: the assignment service cannot be asked: %s", reply.error)
            self._breaker.failed(reply.retry_after_ms)
        else:
            self._breaker.worked()
        if reply.error:
            self._tally.add("assign_errors")
        self.error = reply.error
        return reply.assignment


class Remote(Asking):
    """Asks, and waits for the answer."""

    def __init__(
        self, base_url: str, timeout_ms: float, transport: httpx.BaseTransport | None, tally: Tally
    ) -> None:
        super().__init__(base_url, timeout_ms, transport, tally)
        self._network = Network(timeout_ms, transport)

    def reborn(self) -> None:
        """Leave a parent process's connections alone."""
        super().reborn()
        self._network.reborn()

    def close(self) -> None:
        """Close the connections; who asks afterwards is told `unreachable`."""
        self._network.close()

    def ask(self, question: Question) -> Assignment:
        """Return the service's answer, `unreachable` where none came in time. Raises nothing.

        The time-out holds for connecting and for answering, each.
        """
        if not self._breaker.may_ask():
            return self._left_alone(question.key)
        return self._settle(self._post(question))

    def _post(self, question: Question) -> Reply:
        body, ends_ms = b"", monotonic_ms() + 2 * self._timeout_ms
        try:
            http = self._network.http  # raises once closed
            with http.stream("POST", question.url, content=question.body, headers=_HEADERS) as response:
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES or monotonic_ms() > ends_ms:
                        return unreachable(question.key, "the answer is too long, or comes too slowly")
        except Exception as error:  # noqa: BLE001 - the caller goes on, whatever networks raise
            return unreachable(question.key, f"{type(error).__name__}: {error}")
        return read_reply(question.key, response.status_code, body, response.headers.get("retry-after"))


class AsyncRemote(Asking):
    """Asks without holding up the event loop. Belongs to the loop that asks first."""

    def __init__(
        self, base_url: str, timeout_ms: float, transport: httpx.BaseTransport | None, tally: Tally
    ) -> None:
        super().__init__(base_url, timeout_ms, transport, tally)
        self._http: httpx.AsyncClient | None = None
        self._closed = False

    def reborn(self) -> None:
        """Leave a parent process's connections alone."""
        super().reborn()
        self._http = None

    async def aclose(self) -> None:
        """Close the connections; who asks afterwards is told `unreachable`."""
        self._closed = True
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def ask(self, question: Question) -> Assignment:
        """Return the service's answer, `unreachable` where none came within the time-out. Raises nothing
        but the caller's own cancellation."""
        if not self._breaker.may_ask():
            return self._left_alone(question.key)
        try:
            async with asyncio.timeout(self._timeout_ms / 1_000):
                return self._settle(await self._post(question))
        except TimeoutError:
            return self._settle(unreachable(question.key, f"no answer in {self._timeout_ms:g} ms"))

    async def _post(self, question: Question) -> Reply:
        if self._closed:
            return unreachable(question.key, "the client is closed")
        if self._http is None:
            transport = self._transport if isinstance(self._transport, httpx.AsyncBaseTransport) else None
            self._http = httpx.AsyncClient(timeout=None, transport=transport)  # noqa: S113 - see `ask`
        try:
            response = await self._http.post(question.url, content=question.body, headers=_HEADERS)
        except Exception as error:  # noqa: BLE001 - the caller goes on, whatever networks raise
            return unreachable(question.key, f"{type(error).__name__}: {error}")
        body, retry_after = response.content, response.headers.get("retry-after")
        if len(body) > MAX_ANSWER_BYTES:
            return unreachable(question.key, "the answer is too long")
        return read_reply(question.key, response.status_code, body, retry_after)
