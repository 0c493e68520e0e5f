"""State and the event that tells of it commit together: the event waits in a table until the bus has it.

Order per key is the order of `enqueue`: two transactions that write for the same key wait for one another,
and the relay sends a key's next event only after the one before it was acknowledged and deleted. A relay that
dies between the two sends that one event again, right after itself: readers are idempotent. One whose process
stands still is replaced; what it had given to the bus by then may come once more when it goes on.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.bus.ports import Message, Position, Producer
from libs.common.bus.rules import check_topics, too_large
from libs.common.clock import Clock
from libs.common.db.pool import Connection, Pool, outages
from libs.common.errors import Refused, Retryable
from libs.common.lifecycle import Stop
from libs.common.retry import Backoff
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import OUTBOX_PENDING, collector

log = logging.getLogger(__name__)

PART = "outbox"
"""The name of this part in Health."""
POLL_INTERVAL_MS = 1_000
"""How long an event waits at most when its notification is lost."""
MAX_BATCH = 100
"""Events that are read at a time: 100 MB at the largest size the bus takes."""
IDLE_LIMIT_MS = 10_000
"""A machine that vanishes or stands still keeps its leadership no longer: PostgreSQL ends a session that has
asked nothing for so long. A relay at work asks every second, also while it waits for the bus."""
UNSENT_AFTER_MS = 30_000
"""When the same event was the first in the queue for so long, who stands by says that nobody sends."""
_FIRST = "SELECT id FROM outbox ORDER BY id LIMIT 1"
_PENDING = "SELECT count(*) FROM (SELECT FROM outbox LIMIT 10000) AS waiting"


async def enqueue(connection: Connection, message: Message) -> None:
    """Add a message to the outbox of the connection's schema, in the caller's transaction.

    Raises Misconfigured for a topic that is not listed, Refused for a message larger than the bus takes,
    RuntimeError outside a transaction. Waits for another open transaction that has a message for the same
    key; who writes for several keys in different orders may meet a deadlock (`outages` makes it Retryable).
    """
    if not connection.is_in_transaction():
        raise RuntimeError("enqueue belongs into the transaction that changes the state")
    check_topics([message.topic])
    if refusal := too_large(message):
        raise refusal
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/outbox/' || $1, 0))",
        f"{message.topic}/{message.key}",
    )
    await connection.execute(
        "INSERT INTO outbox (topic, key, value, headers) VALUES ($1, $2, $3, $4)"
        " RETURNING pg_notify(current_schema() || '.outbox', '')",
        message.topic,
        message.key,
        message.value,
        json.dumps(dict(message.headers)),
    )


@dataclass(frozen=True, slots=True)
class _Waiting:
    id: int
    message: Message


class OutboxRelay:
    """Sends what the outbox holds. Of many relays on one schema one is at work; the others stand by.

    The producer must have been started. Takes one connection of the pool for itself.
    """

    def __init__(self, pool: Pool, producer: Producer, *, clock: Clock, health: Health) -> None:
        self._pool = pool
        self._producer = producer
        self._clock = clock
        self._health = health
        self._backoff = Backoff(first_ms=100, max_ms=10_000)
        self._first: int | None = None
        """The event that was first in the queue when this relay looked last, standing by."""
        self._first_since_ms = 0.0
        health.require(PART)

    async def run(self, stop: Stop) -> None:
        """Relay until `stop`, then send what is left. While the bus or the database does not answer, `health`
        says so and the pauses grow to 10 s; nothing is lost."""
        while not stop.is_set():
            self._health.beat(PART)
            try:
                with outages("outbox"):
                    async with self._pool.acquire() as connection:
                        await self._serve(connection, stop)
            except Retryable as error:
                log.warning("outbox: %s", error.message)
                self._health.failing(PART, error.message)
                await stop.sleep(self._backoff.next_ms())

    async def _serve(self, connection: Connection, stop: Stop) -> None:
        schema = await connection.fetchval("SELECT current_schema()")
        channel = f"{schema}.outbox"
        woken = asyncio.Event()

        def wake(*_: object) -> None:
            woken.set()

        # The pool takes the limit back with the connection.
        await connection.execute(f"SET idle_session_timeout = {IDLE_LIMIT_MS}")
        await connection.add_listener(channel, wake)
        try:
            while not await self._lead(connection, schema):
                await self._watch(connection)
                if await stop.sleep(POLL_INTERVAL_MS):
                    return
            while True:
                woken.clear()
                await self._drain(connection)
                self._health.ok(PART)
                if stop.is_set():
                    return
                await _pause(woken, stop)
        finally:
            if connection.is_closed():
                # asyncpg can find the session ended without letting go of what belongs to it.
                connection.terminate()
            else:
                await connection.remove_listener(channel, wake)

    async def _lead(self, connection: Connection, schema: str) -> bool:
        """The pool gives the lock back when it takes the connection back."""
        leads: bool = await connection.fetchval(
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", f"{schema}/relay"
        )
        return leads

    async def _watch(self, connection: Connection) -> None:
        """Look whether the one that leads sends."""
        self._health.beat(PART)
        collector(OUTBOX_PENDING).set(await connection.fetchval(_PENDING))
        first, now_ms = await connection.fetchval(_FIRST), self._clock.monotonic_ms()
        if first != self._first:
            self._first, self._first_since_ms = first, now_ms
        if first is not None and now_ms - self._first_since_ms >= UNSENT_AFTER_MS:
            waited_s = UNSENT_AFTER_MS // 1_000
            self._health.failing(
                PART, f"nobody sends event {first} and those behind it, for {waited_s} s: look at who leads"
            )
        else:
            self._health.ok(PART)

    async def _drain(self, connection: Connection) -> None:
        while True:
            self._health.beat(PART)
            rows = await connection.fetch(
                "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT $1", MAX_BATCH
            )
            collector(OUTBOX_PENDING).set(await connection.fetchval(_PENDING))
            if not rows:
                return
            waiting = [
                _Waiting(
                    row["id"], Message(row["topic"], row["key"], row["value"], json.loads(row["headers"]))
                )
                for row in rows
            ]
            for wave in _waves(waiting):
                await self._send(connection, wave)

    async def _send(self, connection: Connection, wave: Sequence[_Waiting]) -> None:
        answers = await self._sent(connection, wave)
        failed = {
            each.id: answer
            for each, answer in zip(wave, answers, strict=True)
            if isinstance(answer, Retryable | Refused)
        }
        sent = [each.id for each in wave if each.id not in failed]
        await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", sent)
        if sent:
            self._backoff.reset()
        if failed:
            # A refused one blocks as well: to drop it would lose it, to overtake it would break the order.
            number, answer = next(iter(failed.items()))
            raise Retryable(f"event {number} and those behind it wait: {answer.message}") from answer

    async def _sent(
        self, connection: Connection, wave: Sequence[_Waiting]
    ) -> Sequence[Position | Retryable | Refused]:
        """Send, and let PostgreSQL hear of us meanwhile: who has given events to the bus goes on leading."""
        self._health.beat(PART)
        sent = Stop()

        async def keep() -> None:
            while not await sent.sleep(POLL_INTERVAL_MS):
                await connection.execute("SELECT 1")

        keeping = asyncio.ensure_future(keep())
        try:
            return await self._producer.send_all([each.message for each in wave])
        finally:
            sent.set("there is an answer")
            await keeping


def _waves(waiting: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Return the same events as rounds, no key twice in one, each key's events in their order."""
    waves: list[list[_Waiting]] = []
    seen: dict[tuple[str, str], int] = {}
    for each in waiting:
        place = (each.message.topic, each.message.key)
        seen[place] = number = seen.get(place, -1) + 1
        if number == len(waves):
            waves.append([])
        waves[number].append(each)
    return waves


async def _pause(woken: asyncio.Event, stop: Stop) -> None:
    waits = {asyncio.ensure_future(woken.wait()), asyncio.ensure_future(stop.wait())}
    try:
        await asyncio.wait(waits, timeout=POLL_INTERVAL_MS / 1_000, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
