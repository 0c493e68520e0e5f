"""The client: what a production service talks to. Nothing here blocks or breaks its caller."""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from trimtab import events
from trimtab.assignments import NO_RULES, Assignment
from trimtab.buffer import Memory
from trimtab.clock import monotonic_ms
from trimtab.delivery import Delivery, DeliverySettings, OnAccepted
from trimtab.evaluation import evaluate
from trimtab.refresher import Refresher
from trimtab.stats import Stats

log = logging.getLogger("trimtab")


class Trimtab:
    """Assigns locally and tells what happened. Thread-safe; make one per process, after any fork, and
    close it at the end: what still waits when the process ends is lost.

    Where the assignment service cannot be reached, the last rules stay in force (`stats().rules_age_ms`);
    before the first, `assign` answers with reason `no_rules` and the caller's own default applies. Where the
    gateway cannot be reached, events wait in a bounded queue; past it they are dropped and counted.
    """

    def __init__(  # noqa: PLR0913 - the options are flat, so that a caller names only what it changes
        self,
        gateway_url: str,
        assignment_url: str,
        *,
        refresh_interval_ms: float = 1_000,
        flush_interval_ms: float = 200,
        max_queue: int = 10_000,
        max_batch: int = 500,
        max_exposures_remembered: int = 100_000,
        request_timeout_ms: float = 5_000,
        on_accepted: OnAccepted | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent before `start`.

        `on_accepted` gets every event that the gateway acknowledged, once, from the sending thread.
        `transport` replaces the network. Raises ValueError for a limit that is not positive, or more than
        the 1,000 events a batch that the gateway takes.
        """
        limits = (refresh_interval_ms, flush_interval_ms, max_queue, max_batch, max_exposures_remembered)
        if min(*limits, request_timeout_ms) <= 0 or max_batch > 1_000:
            raise ValueError("intervals and limits must be positive, and max_batch at most 1000")
        self._http = httpx.Client(timeout=request_timeout_ms / 1_000, transport=transport)
        self._rules = Refresher(
            self._http, f"{assignment_url.rstrip('/')}/v1/rules", interval_ms=refresh_interval_ms
        )
        url = f"{gateway_url.rstrip('/')}/v1/events"
        self._delivery = Delivery(
            self._http, DeliverySettings(url, flush_interval_ms, max_queue, max_batch, on_accepted)
        )
        self._exposed = Memory(max_exposures_remembered)

    def start(self, deadline_ms: float = 5_000) -> Self:
        """Start both threads and wait for the first rules, at most `deadline_ms`. Raises nothing: without
        rules it goes on, and fetches them as soon as they can be had."""
        self._delivery.start()
        if not self._rules.start(deadline_ms):
            log.warning("trimtab: no rules after %d ms: %s", deadline_ms, self._rules.error)
        return self

    def close(self, deadline_ms: float = 5_000) -> bool:
        """Send what waits, then stop. True: every event has its answer. What is left counts as dropped."""
        began_ms = monotonic_ms()
        done = self._delivery.close(deadline_ms)
        self._rules.close(max(100.0, deadline_ms - (monotonic_ms() - began_ms)))
        if not (self._delivery.running() or self._rules.running()):  # else a thread still waits for an answer
            self._http.close()
        return done

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def assign(self, unit_id: str, key: str, *, expose: bool = True) -> Assignment:
        """Return what a unit gets for an experiment's id or a model's name, without touching the network.

        A unit that takes part is exposed, once per experiment; with `expose=False` call `expose` when the
        unit really meets the variant.
        """
        rules = self._rules.rules
        if rules is None:
            return Assignment(key, reason=NO_RULES)
        assignment = evaluate(rules, key, unit_id)
        if expose and assignment.in_experiment:
            self.expose(unit_id, assignment)
        return assignment

    def expose(
        self, unit_id: str, assignment: Assignment, *, attributes: Mapping[str, Any] | None = None
    ) -> str | None:
        """Tell that a unit met its variant. Returns the event's id; None when there is nothing new to tell:
        the unit takes no part, was exposed before, or the queue is full (then the next call tells it)."""
        experiment_id = assignment.experiment_id
        if not assignment.in_experiment or experiment_id is None:
            return None
        if not self._exposed.add(experiment_id, unit_id):
            return None
        event = events.exposure(unit_id, assignment, attributes)
        if self._delivery.put(event):
            return str(event["event_id"])
        self._exposed.discard(experiment_id, unit_id)
        return None

    def predict(  # noqa: PLR0913 - the fields of the event, all named
        self,
        unit_id: str,
        *,
        model: str,
        model_version: str,
        features: Mapping[str, Any],
        output: float | str,
        confidence: float | None = None,
        latency_ms: float | None = None,
    ) -> str:
        """Tell one answer of a model. Returns its event id, which `feedback` refers to."""
        return self._tell(
            events.prediction(
                unit_id,
                model=model,
                model_version=model_version,
                features=features,
                output=output,
                confidence=confidence,
                latency_ms=latency_ms,
            )
        )

    def convert(
        self, unit_id: str, name: str, value: float = 1.0, *, attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Tell that a unit did something that is counted. Returns the event's id."""
        return self._tell(events.conversion(unit_id, name, value, attributes))

    def feedback(
        self,
        unit_id: str,
        prediction_id: str,
        *,
        model: str,
        label: float | str | None = None,
        rating: float | None = None,
    ) -> str:
        """Tell the truth about a prediction (`label`) or an opinion (`rating`). Returns the event id."""
        return self._tell(
            events.feedback(unit_id, prediction_id=prediction_id, model=model, label=label, rating=rating)
        )

    def flush(self, deadline_ms: float = 5_000) -> bool:
        """Send all that waits, now. True: every event so far is accepted or rejected for good."""
        return self._delivery.flush(deadline_ms)

    def stats(self) -> Stats:
        """Return the counts, the last errors, and how fresh the rules are."""
        rules, delivery = self._rules.rules, self._delivery
        return Stats(
            queued=delivery.queued,
            sent=delivery.sent,
            accepted=delivery.accepted,
            rejected=delivery.rejected,
            dropped=delivery.dropped,
            last_error=delivery.last_error,
            rules_revision=None if rules is None else rules.revision,
            rules_age_ms=self._rules.age_ms(),
            rules_error=self._rules.error,
        )

    def _tell(self, event: events.Event) -> str:
        self._delivery.put(event)
        return str(event["event_id"])
