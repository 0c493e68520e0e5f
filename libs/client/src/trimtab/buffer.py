"""What waits to be sent, and what is remembered of units. Both are bounded and thread-safe.

Locks are reentrant: a finalizer or a signal handler may tell something while its own thread holds one.
"""

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

from trimtab.events import Event

Known = TypeVar("Known")
Pair = tuple[str, str]
"""An experiment's id and a unit's."""


class Buffer:
    """A queue that never blocks: when it is full, what comes is refused."""

    def __init__(self, capacity: int, full_batch: int) -> None:
        """Hold up to `capacity` events; `ready` is set once a `full_batch` waits."""
        self._events: deque[Event] = deque()
        self._capacity = capacity
        self._full_batch = full_batch
        self._lock = threading.RLock()
        self.ready = threading.Event()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> bool:
        """Take an event in; False when there is no room."""
        with self._lock:
            if len(self._events) >= self._capacity:
                return False
            self._events.append(event)
            full = len(self._events) >= self._full_batch
        if full and not self.ready.is_set():
            self.ready.set()
        return True

    def take(self, limit: int) -> list[Event]:
        """Remove and return up to `limit` events, oldest first."""
        with self._lock:
            return [self._events.popleft() for _ in range(min(limit, len(self._events)))]


class Memory(Generic[Known]):
    """What is known of pairs of an experiment and a unit, up to a limit; what was learnt first goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[Pair, Known] = OrderedDict()
        self.get = self._known.get
        """Return what is known of a pair, or None. Without the lock: one look into a dictionary is atomic,
        and this is the hot path of `assign`."""
        self.reborn()

    def __len__(self) -> int:
        return len(self._known)

    def reborn(self) -> None:
        """Be given a lock that no thread of a parent process holds; what is known stays known."""
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._known.clear()

    def add(self, pair: Pair, known: Known) -> bool:
        """Remember a pair; False, and nothing changes, when it was known."""
        with self._lock:
            if pair in self._known:
                return False
            self.put(pair, known)
            return True

    def put(self, pair: Pair, known: Known) -> None:
        """Remember a pair, in place of what was known of it."""
        with self._lock:
            self._known[pair] = known
            if len(self._known) > self._limit:
                self._known.popitem(last=False)

    def discard(self, pair: Pair) -> None:
        """Forget a pair: its exposure could not be queued and must be told again."""
        with self._lock:
            self._known.pop(pair, None)
