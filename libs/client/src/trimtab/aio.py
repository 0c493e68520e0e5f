"""The client for asyncio: the same verbs, and nothing but a `sticky_store` holds up the event loop."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from trimtab.assignments import Assignment
from trimtab.core import Core
from trimtab.remote import AsyncRemote


class AsyncTrimtab(Core[AsyncRemote]):
    """The client for asyncio: `expose`, `predict`, `convert` and `feedback` only queue, and are plain calls;
    `assign`, `start`, `flush` and `aclose` are awaited. Everything else is as `Trimtab` says.

    Events are sent by a thread: what is slow in the event loop delays no event, nor the other way round.
    `on_accepted` is called from that thread.
    """

    asks = AsyncRemote

    async def start(self, deadline_ms: float = 5_000) -> Self:
        """Start, and wait for the first rules, at most `deadline_ms`. Raises nothing: without rules it goes
        on, and fetches them as soon as they can be had."""
        await asyncio.to_thread(self._engine.start, deadline_ms)
        return self

    async def aclose(self, deadline_ms: float = 5_000) -> bool:
        """Send what waits, then stop. True: every event has its answer. What is left counts as dropped."""
        done = await asyncio.to_thread(self._engine.close, deadline_ms)
        if self._asks is not None:
            await self._asks.aclose()
        return done

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def assign(
        self, unit_id: str, key: str, attributes: Mapping[str, Any] | None = None, *, expose: bool = True
    ) -> Assignment:
        """Return what a unit gets for an experiment's id or a model's name. Raises nothing of its own.

        It suspends only where the client is `remote`, for at most `assign_timeout_ms`, and not at all while
        the service is known to be down. The rest is as `Trimtab.assign` says.
        """
        if self._asks is None:
            return self._assign_here(unit_id, key, attributes, expose)
        question = self._question(self._asks, unit_id, key, attributes, expose)
        return question if isinstance(question, Assignment) else await self._asks.ask(question)

    async def flush(self, deadline_ms: float = 5_000) -> bool:
        """Send all that waits, now. True: every event so far is accepted or rejected for good."""
        return await asyncio.to_thread(self._delivery.flush, deadline_ms)
