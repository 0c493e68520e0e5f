"""The client: what a production service talks to. Nothing here blocks or breaks its caller."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from trimtab.assignments import Assignment
from trimtab.core import Core
from trimtab.remote import Remote


class Trimtab(Core[Remote]):
    """Assigns and tells what happened. Thread-safe; make one per process.

    Where the assignment service cannot be reached, the last rules stay in force (`stats().rules_age_ms`);
    before the first, `assign` answers with reason `no_rules` and the caller's own default applies. Where the
    gateway cannot be reached, events wait in a bounded queue; past it they are dropped and counted.

    Closed, it sends what waits, and stays closed. Left to the end of the process (or of a worker of
    multiprocessing) it does so too, for at most `exit_deadline_ms`; only `os._exit` and signals that kill
    leave no time: close it there. A forked child has threads of its own, the rules at hand, and an empty
    queue.
    """

    asks = Remote

    def start(self, deadline_ms: float = 5_000) -> Self:
        """Start the threads and wait for the first rules, at most `deadline_ms`. Raises nothing: without
        rules it goes on, and fetches them as soon as they can be had."""
        self._engine.start(deadline_ms)
        return self

    def close(self, deadline_ms: float = 5_000) -> bool:
        """Send what waits, then stop. True: every event has its answer. What is left counts as dropped."""
        done = self._engine.close(deadline_ms)
        if self._asks is not None:
            self._asks.close()
        return done

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def assign(
        self, unit_id: str, key: str, attributes: Mapping[str, Any] | None = None, *, expose: bool = True
    ) -> Assignment:
        """Return what a unit gets for an experiment's id or a model's name. Raises nothing.

        Without touching the network, unless the client is `remote`: then it takes at most
        `assign_timeout_ms` to connect and as long to answer, and no time while the service is known to be
        down.
        A unit that takes part is exposed, once per experiment; with `expose=False` call `expose` when the
        unit really meets the variant. `attributes` decide whether the unit is targeted.
        """
        if self._asks is None:
            return self._assign_here(unit_id, key, attributes, expose)
        question = self._question(self._asks, unit_id, key, attributes, expose)
        return question if isinstance(question, Assignment) else self._asks.ask(question)

    def flush(self, deadline_ms: float = 5_000) -> bool:
        """Send all that waits, now. True: every event so far is accepted or rejected for good."""
        return self._delivery.flush(deadline_ms)
