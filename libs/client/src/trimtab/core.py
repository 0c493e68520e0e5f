"""What both clients share: how they are made, and assigning by the rules at hand."""

import logging
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx

from trimtab.asking import Question, is_key
from trimtab.assignments import BAD_UNIT, NO_RULES, UNKNOWN, Assignment
from trimtab.delivery import DeliverySettings, OnAccepted
from trimtab.engine import Engine, EngineSettings
from trimtab.evaluation import NO_ATTRIBUTES, evaluate
from trimtab.remote import Asking
from trimtab.rules import Rules
from trimtab.stats import Stats
from trimtab.sticky import Given, StickyStore, StickyUnits
from trimtab.telling import Telling
from trimtab.units import is_unit_id

log = logging.getLogger("trimtab")

Asks = TypeVar("Asks", bound=Asking)


class Core(Telling, Generic[Asks]):
    """Assigns by the rules at hand, and takes in what happened. Raises nothing, whatever it is given."""

    asks: type[Asks]
    """How the assignment service is asked, where the client is remote."""

    def __init__(  # noqa: PLR0913 - the options are flat, so that a caller names only what it changes
        self,
        gateway_url: str,
        assignment_url: str,
        *,
        remote: bool = False,
        sticky_store: StickyStore | None = None,
        on_accepted: OnAccepted | None = None,
        refresh_interval_ms: float = 1_000,
        flush_interval_ms: float = 200,
        max_queue: int = 10_000,
        max_batch: int = 500,
        max_exposures_remembered: int = 100_000,
        max_units_remembered: int = 100_000,
        request_timeout_ms: float = 5_000,
        assign_timeout_ms: float = 200,
        exit_deadline_ms: float = 2_000,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent before `start`.

        `remote`: ask the assignment service for each assignment, at most `assign_timeout_ms`, instead of
        evaluating the rules here. `sticky_store` shares sticky units with other processes. `on_accepted` gets
        every event that the gateway acknowledged, once, from the sending thread. `exit_deadline_ms` is how
        long the end of the process may be held up to send what waits, and how long a client goes on trying
        that was dropped without `close`. `transport` replaces the network.
        Raises ValueError for a limit that is not positive, or more than the 1,000 events a batch that the
        gateway takes.
        """
        limits = (refresh_interval_ms, flush_interval_ms, max_queue, max_batch, max_exposures_remembered)
        times = (request_timeout_ms, assign_timeout_ms, exit_deadline_ms, max_units_remembered)
        if min(*limits, *times) <= 0 or max_batch > 1_000:
            raise ValueError("intervals and limits must be positive, and max_batch at most 1000")
        asking_url = f"{assignment_url.rstrip('/')}/v1/assignments"
        rules_url = f"{assignment_url.rstrip('/')}/v1/rules"
        events_url = f"{gateway_url.rstrip('/')}/v1/events"
        delivery = DeliverySettings(
            events_url, flush_interval_ms, max_queue, max_batch, on_accepted, last_words_ms=exit_deadline_ms
        )
        self._engine = Engine(
            EngineSettings(
                rules_url, refresh_interval_ms, request_timeout_ms, exit_deadline_ms, delivery, not remote
            ),
            transport,
        )
        super().__init__(self._engine.delivery, max_exposures_remembered)
        self._refresher = self._engine.refresher
        self._sticky = StickyUnits(max_units_remembered, sticky_store, self._tally)
        self._asks = self.asks(asking_url, assign_timeout_ms, transport, self._tally) if remote else None
        self._engine.on_fork += [self._exposed.reborn, self._sticky.reborn, self._tally.reborn]
        # A child tells exposures again: that costs nothing, and its parent may never send what it has told.
        self._engine.on_fork.append(self._exposed.clear)
        if self._asks is not None:
            self._engine.on_fork.append(self._asks.reborn)
        weakref.finalize(self, self._engine.abandon).atexit = False

    def stats(self) -> Stats:
        """Return the counts, the last errors, and how fresh the rules are."""
        rules, delivery = self._refresher.current(), self._delivery
        return Stats(
            queued=delivery.queued,
            sent=delivery.sent,
            accepted=delivery.accepted,
            rejected=delivery.rejected,
            dropped=delivery.dropped,
            last_error=delivery.last_error,
            rules_revision=None if rules is None else rules.revision,
            rules_age_ms=self._refresher.age_ms(),
            rules_error=self._refresher.error,
            bad_units=self._tally["bad_units"],
            attributes_left_out=self._tally["attributes_left_out"],
            sticky_errors=self._tally["sticky_errors"],
            assign_errors=self._tally["assign_errors"],
            assign_error="" if self._asks is None else self._asks.error,
        )

    @property
    def started(self) -> bool:
        """True from `start` to `close`."""
        return self._engine.started

    @property
    def remote(self) -> bool:
        """True where each assignment is asked for."""
        return self._asks is not None

    @property
    def ready(self) -> bool:
        """True where `assign` can answer: there are rules, or it asks for each assignment."""
        return self._asks is not None or self._refresher.current() is not None

    def on_rules(self, listener: Callable[[Rules], None]) -> None:
        """Call `listener` with every new rule set, from the refreshing thread. It is held for as long as the
        threads run; let it hold the client weakly."""
        self._refresher.listeners.append(listener)

    def _assign_here(
        self, unit_id: str, key: str, attributes: Mapping[str, Any] | None, expose: bool
    ) -> Assignment:
        """Evaluate the rules at hand. Raises nothing: this stands in the middle of a caller's request."""
        try:
            if not is_unit_id(unit_id) or not isinstance(key, str):
                return self._unusable(unit_id, key)
            rules = self._refresher.rules or self._refresher.current()
            if rules is None:
                return Assignment(key, reason=NO_RULES)
            assignment = evaluate(rules, key, unit_id, attributes or NO_ATTRIBUTES, self._recall)
            if assignment.in_experiment:
                experiment_id = assignment.experiment_id or ""
                if rules.experiments[experiment_id].sticky_since:
                    self._remember(rules, unit_id, assignment)
                # Looked up here as well as in `_expose`: for almost every call this is where it ends.
                if expose and self._exposed.get((experiment_id, unit_id)) is None:
                    self._expose(unit_id, assignment, attributes)
            return assignment
        except Exception:  # noqa: BLE001 - logged and counted
            return self._failed("assign", key)

    def _question(
        self, asks: Asks, unit_id: str, key: str, attributes: Mapping[str, Any] | None, expose: bool
    ) -> Question | Assignment:
        """Return what to ask the assignment service; or the answer, where there is nothing to ask."""
        try:
            if not is_unit_id(unit_id) or not isinstance(key, str):
                return self._unusable(unit_id, key)
            if not is_key(key):
                return Assignment(key, reason=UNKNOWN)
            return asks.question(key, unit_id, attributes or NO_ATTRIBUTES, expose=expose)
        except Exception:  # noqa: BLE001 - logged and counted
            return self._failed("assign", key)

    def _unusable(self, unit_id: object, key: object) -> Assignment:
        """Return the assignment where one of the two is not what it must be."""
        bad_unit = not is_unit_id(unit_id)
        if bad_unit:
            self._tally.add("bad_units")
        return Assignment(key if isinstance(key, str) else "", reason=BAD_UNIT if bad_unit else UNKNOWN)

    def _remember(self, rules: Rules, unit_id: str, assignment: Assignment) -> None:
        experiment_id, variant = assignment.experiment_id, assignment.variant
        if experiment_id is not None and variant is not None:
            since = rules.experiments[experiment_id].sticky_since
            self._sticky.remember(experiment_id, unit_id, (variant, assignment.revision), since)

    def _recall(self, experiment_id: str, unit_id: str) -> Given | None:
        rules = self._refresher.rules
        rule = None if rules is None else rules.experiments.get(experiment_id)
        return self._sticky.recall(experiment_id, unit_id, 0 if rule is None else rule.sticky_since)
