"""What runs behind a client: both threads and their connections. It holds no reference to the client, so
that a client that nobody holds any more can be collected, and its threads with it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from trimtab import process
from trimtab.clock import monotonic_ms
from trimtab.delivery import Delivery, DeliverySettings
from trimtab.network import Network
from trimtab.refresher import Refresher

log = logging.getLogger("trimtab")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where the rules come from and how often, in milliseconds; and how events are sent."""

    rules_url: str
    refresh_interval_ms: float
    request_timeout_ms: float
    exit_deadline_ms: float
    delivery: DeliverySettings
    local: bool
    """True: rules are fetched and kept fresh."""


class Engine:
    """Starts and stops the threads together; renews all in a forked child."""

    def __init__(self, settings: EngineSettings, transport: httpx.BaseTransport | None) -> None:
        self._settings = settings
        self._network = Network(settings.request_timeout_ms, transport)
        self._started = self._closed = False
        self.exit_deadline_ms = settings.exit_deadline_ms
        self.delivery = Delivery(self._network, settings.delivery)
        self.refresher = Refresher(self._network, settings.rules_url, settings.refresh_interval_ms)
        self.delivery.when_abandoned = self._end
        self.on_fork: list[Callable[[], None]] = []
        """Called in a forked child: to renew locks and connections."""

    @property
    def started(self) -> bool:
        """True from `start` to `close`."""
        return self._started

    def start(self, deadline_ms: float) -> None:
        """Start the threads; wait for the first rules where they are wanted, at most `deadline_ms`."""
        if self._closed:
            log.warning("trimtab: a closed client stays closed: make another")
            return
        self._started = True
        process.enlist(self)
        self.delivery.start()
        if self._settings.local and not self.refresher.start(deadline_ms):
            log.warning("trimtab: no rules after %d ms: %s", deadline_ms, self.refresher.error)

    def close(self, deadline_ms: float) -> bool:
        """Send what waits, then stop. True: every event has its answer. What is left counts as dropped."""
        began_ms = monotonic_ms()
        self._started, self._closed = False, True
        process.leave(self)
        done = self.delivery.close(deadline_ms)
        self.refresher.close(max(100.0, deadline_ms - (monotonic_ms() - began_ms)))
        if not (self.delivery.running() or self.refresher.running()):  # else a thread waits for an answer
            self._network.close()
        return done

    def abandon(self) -> None:
        """End soon, without waiting: nobody holds the client any more. What waits is sent first.

        A collector of garbage may call this anywhere, also while this very thread holds a lock: so it takes
        none, and the threads look at their next glance.
        """
        self.delivery.abandoned = self.refresher.abandoned = True

    def reborn(self) -> None:
        """Be as new in a forked child: the same rules, an empty queue, connections and threads of its own,
        made when first they are needed."""
        self._network.reborn()
        self.delivery.reborn()
        self.refresher.reborn()
        for renew in self.on_fork:
            renew()

    def _end(self) -> None:
        """The last act of an abandoned client's sending thread."""
        process.leave(self)
        self._network.close()
