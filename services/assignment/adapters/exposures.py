"""Exposures to the bus, acknowledged."""

import asyncio
from dataclasses import dataclass, field

from libs.common.bus.ports import Message, Position, Producer
from libs.common.errors import Refused, Retryable
from schemas.facts import Exposure

MAX_UNDER_WAY = 20_000
"""Exposures that may wait for the bus at once; more are refused, so that an outage fills no memory."""

Landed = list[Position | Retryable | Refused]


@dataclass(slots=True)
class _Batch:
    """What was asked for in one turn of the event loop: it travels, lands and fails together."""

    messages: list[Message] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class BusExposures:
    """Keeps the promise of `ports.Exposures`, within `deadline_ms`.

    After a batch that did not land in time everything is refused at once until that one has landed, or
    failed and the next that is tried lands: an outage costs the first callers the deadline, not everybody.
    """

    def __init__(self, producer: Producer, *, deadline_ms: int) -> None:
        self._producer = producer
        self._deadline_ms = deadline_ms
        self._next: _Batch | None = None
        self._under_way = 0
        self._failing = False

    async def publish(self, exposure: Exposure) -> None:
        """Return once it is acknowledged. Past the deadline it raises Retryable; it may still arrive."""
        if self._under_way and self._failing:
            raise Retryable("the bus did not take the exposures before this one")
        if self._under_way >= MAX_UNDER_WAY:
            raise Retryable(f"{MAX_UNDER_WAY} exposures wait for the bus")
        landed = self._add(Message("exposures", exposure.unit_id, exposure.to_json()))
        await landed

    def _add(self, message: Message) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._next is None:
            # At the end of this turn of the loop: whatever requests were read in it share one call.
            self._next = _Batch()
            loop.call_soon(self._send)
        future: asyncio.Future[None] = loop.create_future()
        self._next.messages.append(message)
        self._next.waiting.append(future)
        self._under_way += 1
        return future

    def _send(self) -> None:
        batch, self._next = self._next, None
        if batch is None:
            return
        sending = asyncio.ensure_future(self._producer.send_all(batch.messages))
        overdue = asyncio.get_running_loop().call_later(self._deadline_ms / 1_000, self._overdue, batch)

        def done(task: asyncio.Future[Landed]) -> None:
            overdue.cancel()
            self._landed(batch, task)

        sending.add_done_callback(done)

    def _overdue(self, batch: _Batch) -> None:
        self._failing = True
        for future in batch.waiting:
            _settle(future, Retryable(f"no acknowledgement within {self._deadline_ms} ms"))

    def _landed(self, batch: _Batch, task: asyncio.Future[Landed]) -> None:
        self._under_way -= len(batch.messages)
        error = Retryable("the process ends") if task.cancelled() else task.exception()
        answers = [error] * len(batch.messages) if error is not None else task.result()
        self._failing = any(isinstance(answer, BaseException) for answer in answers)
        for future, answer in zip(batch.waiting, answers, strict=True):
            _settle(future, answer if isinstance(answer, BaseException) else None)


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():  # overdue, or nobody waits any more
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
