"""What waits to be sent, and which exposures were told already. Both are bounded and thread-safe."""

import threading
from collections import OrderedDict, deque

from trimtab.events import Event


class Buffer:
    """A queue that never blocks: when it is full, what comes is refused."""

    def __init__(self, capacity: int, full_batch: int) -> None:
        """Hold up to `capacity` events; `ready` is set once a `full_batch` waits."""
        self._events: deque[Event] = deque()
        self._capacity = capacity
        self._full_batch = full_batch
        self._lock = threading.Lock()
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


class Memory:
    """The pairs of experiment and unit seen last, up to a limit; the oldest is forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, experiment_id: str, unit_id: str) -> bool:
        """Remember a pair; False when it was known."""
        pair = (experiment_id, unit_id)
        with self._lock:
            if pair in self._seen:
                self._seen.move_to_end(pair)
                return False
            self._seen[pair] = None
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)
            return True

    def discard(self, experiment_id: str, unit_id: str) -> None:
        """Forget a pair: its exposure could not be queued and must be told again."""
        with self._lock:
            self._seen.pop((experiment_id, unit_id), None)
