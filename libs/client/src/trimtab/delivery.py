"""The thread that sends: batches, repeats with the same ids, and counts exactly."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from trimtab.answers import Answer, all_again, read_answer
from trimtab.buffer import Buffer
from trimtab.clock import monotonic_ms
from trimtab.events import Event
from trimtab.network import Network
from trimtab.packing import Packed, Unsendable, body, fitting, pack

log = logging.getLogger("trimtab")

FIRST_BACKOFF_MS = 100.0
MAX_BACKOFF_MS = 5_000.0
GLANCE_MS = 1_000.0
"""How often a waiting thread looks whether anybody still holds its client."""

OnAccepted = Callable[[list[Event]], None]


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How the sender works. Times in milliseconds, `max_batch` and `max_queue` in events."""

    url: str
    flush_interval_ms: float
    max_queue: int
    max_batch: int
    on_accepted: OnAccepted | None
    last_words_ms: float
    """How long the thread of a client that nobody holds any more goes on trying."""


class Delivery:
    """Sends what `put` takes in, from one background thread. Counts are exact once `flush` said True."""

    def __init__(self, network: Network, settings: DeliverySettings) -> None:
        self._network = network
        self._settings = settings
        self.when_abandoned: Callable[[], None] = lambda: None
        """Called by the thread of an abandoned client, last."""
        self._thread: threading.Thread | None = None
        self._asleep = False
        self.reborn()

    def reborn(self) -> None:
        """Be as new: in a child process neither the parent's thread, nor what it holds, nor its locks. Where
        there was a thread, the first event starts another."""
        self._asleep = self._asleep or self._thread is not None
        self._buffer = Buffer(self._settings.max_queue, self._settings.max_batch)
        self._in_hand: list[Packed] = []  # taken from the buffer, without an answer yet: the thread's own
        self._batch_limit = self._settings.max_batch
        self._failures = 0
        self._flushing = 0
        self._stopping = False
        self.abandoned = False
        """Set, without a lock, when nobody holds the client any more: send what waits, then end."""
        self._hurry = threading.Event()  # ends a pause between two tries
        self._changed = threading.Condition()
        self._thread = None
        self.queued = self.sent = self.accepted = self.rejected = self.dropped = 0
        self.last_error = ""

    def put(self, event: Event) -> bool:
        """Take an event in, at once. False: the queue is full or closed, and the event is dropped."""
        with self._changed:
            room = not self._stopping and self._buffer.put(event)
            if room:
                self.queued += 1
                if self._asleep:
                    self._awake()
            else:
                self.dropped += 1
            said = self.dropped
        if not room and said & (said - 1) == 0:  # at 1, 2, 4, 8, ...: said, without a flood
            log.warning("trimtab: the event queue is full or closed; %d events dropped so far", said)
        return room

    def refuse(self, problem: str) -> None:
        """Count an event that can never be sent as rejected."""
        with self._changed:
            self.rejected += 1
            self.last_error = problem

    def start(self) -> None:
        """Start the thread. Does nothing when it runs. Raises RuntimeError where the system allows none."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trimtab-delivery", daemon=True)
                thread.start()
                self._thread = thread
            self._asleep = False

    def _awake(self) -> None:
        try:
            self.start()
        except RuntimeError as error:  # no thread to be had now: the event waits, and the next tries again
            self.last_error = f"{type(error).__name__}: {error}"

    def flush(self, deadline_ms: float) -> bool:
        """Send all that waits, now. True: every event has its final answer; False: not in time."""
        with self._changed:
            self._flushing += 1
            self._wake()
            try:
                return self._changed.wait_for(lambda: self.queued == 0, timeout=deadline_ms / 1_000)
            finally:
                self._flushing -= 1

    def close(self, deadline_ms: float) -> bool:
        """Flush, then end the thread; what is left counts as dropped. True: nothing was left."""
        began_ms = monotonic_ms()
        done = self.flush(deadline_ms) if self._thread is not None else self.queued == 0
        with self._changed:
            self._stopping = True
        self._wake()
        if self._thread is None:
            self._drop_rest()
        else:
            # The thread may wait for an answer: it ends on its own once that has come, and counts it.
            self._thread.join(max(0.1, (deadline_ms - (monotonic_ms() - began_ms)) / 1_000))
        return done

    def running(self) -> bool:
        """True while the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def _wake(self) -> None:
        self._buffer.ready.set()
        self._hurry.set()

    def _run(self) -> None:
        wait_ms = self._settings.flush_interval_ms
        while not (self._stopping or self.abandoned):
            self._pause(wait_ms)
            wait_ms = self._send_waiting()
        if self.abandoned:
            self._last_words()
        self._drop_rest()
        if self.abandoned:
            self.when_abandoned()

    def _pause(self, wait_ms: float) -> None:
        # While the gateway fails, a full batch is no reason to try sooner; a flush is.
        signal = self._hurry if self._failures else self._buffer.ready
        while wait_ms > 0 and not self.abandoned and not signal.wait(min(wait_ms, GLANCE_MS) / 1_000):
            wait_ms -= GLANCE_MS
        self._buffer.ready.clear()
        self._hurry.clear()

    def _last_words(self) -> None:
        """Send what waits for a client that was let go without a close."""
        self._flushing += 1  # to the end, not only full batches
        ends_ms = monotonic_ms() + self._settings.last_words_ms
        while self.queued and not self._stopping and monotonic_ms() < ends_ms:
            wait_ms = self._send_waiting()
            if self.queued:
                self._hurry.wait(min(wait_ms, GLANCE_MS) / 1_000)

    def _send_waiting(self) -> float:
        """Send until less than a full batch is left. Returns the wait before the next round, in ms."""
        while not self._stopping:
            self._take_in_hand()
            if not self._in_hand:
                break
            pause_ms = self._send_one()
            if pause_ms is not None:
                return pause_ms
            if not self._flushing and len(self._in_hand) + len(self._buffer) < self._settings.max_batch:
                break
        return self._settings.flush_interval_ms

    def _take_in_hand(self) -> None:
        # Also beside what must be sent again: one broker that is away must not hold up what the others take.
        for event in self._buffer.take(self._settings.max_batch - len(self._in_hand)):
            try:
                self._in_hand.append(pack(event))
            except Unsendable as error:
                self._settle(rejected=1, error=str(error))

    def _send_one(self) -> float | None:
        """Send one batch and count what became of it. Returns the pause in ms when it must be repeated."""
        batch = self._in_hand[: fitting(self._in_hand, self._batch_limit)]
        answer = self._post(batch)
        self._tell([batch[index].event for index in answer.accepted])
        self._in_hand = [batch[index] for index in answer.retry] + self._in_hand[len(batch) :]
        self._settle(len(answer.accepted), len(answer.rejected), answer.error)
        if answer.split:
            self._batch_limit = max(1, len(batch) // 2)
        if answer.split or answer.accepted:
            self._failures = 0  # this is no outage: each try brings something, and the pause stays short
        if answer.retry:
            return self._backoff_ms(answer)
        self._failures = 0
        # Slowly back to full batches: one event that did not pass must not slow down all that follow.
        self._batch_limit = min(
            self._settings.max_batch, self._batch_limit + 1 + self._settings.max_batch // 50
        )
        return None

    def _post(self, batch: list[Packed]) -> Answer:
        self.sent += len(batch)
        try:
            response = self._network.http.post(
                self._settings.url, content=body(batch), headers={"content-type": "application/json"}
            )
        except Exception as error:  # noqa: BLE001 - names that are none raise UnicodeError, and so on
            return all_again(len(batch), f"the gateway does not answer: {type(error).__name__}: {error}")
        return read_answer(
            response.status_code, response.content, response.headers.get("retry-after"), len(batch)
        )

    def _tell(self, events: list[Event]) -> None:
        if not events or self._settings.on_accepted is None:
            return
        try:
            self._settings.on_accepted(events)
        except Exception:
            log.exception("trimtab: on_accepted raised; the events are accepted all the same")

    def _settle(self, accepted: int = 0, rejected: int = 0, error: str = "") -> None:
        with self._changed:
            self.accepted += accepted
            self.rejected += rejected
            self.queued -= accepted + rejected
            self.last_error = error or self.last_error
            if self.queued == 0:
                self._changed.notify_all()

    def _backoff_ms(self, answer: Answer) -> float:
        self._failures += 1
        if answer.retry_after_ms is not None:
            return min(answer.retry_after_ms, MAX_BACKOFF_MS)
        pause_ms = min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2.0 ** min(self._failures - 1, 10))
        return pause_ms * random.uniform(0.5, 1.0)

    def _drop_rest(self) -> None:
        with self._changed:
            self.dropped += self.queued
            self.queued = 0
            self._in_hand = []
            self._buffer.take(self._settings.max_queue)
            self._changed.notify_all()
