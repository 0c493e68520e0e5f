"""The record in memory: the same promises as `postgres.py`, for tests and for trying things out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field

from schemas.event import Contract
from schemas.health import Alert, AlertState
from schemas.versions import ModelState, ModelVersion, Registration
from services.retrainer.domain.runs import OPEN, TRAINED, Run
from services.retrainer.domain.versions import VersionChange


@dataclass(slots=True)
class _Record:
    heard: set[tuple[str, str]] = field(default_factory=set)
    models: dict[str, ModelState] = field(default_factory=dict)
    aliased: dict[str, int] = field(default_factory=dict)
    versions_log: list[tuple[str, VersionChange]] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    registrations: dict[str, Registration] = field(default_factory=dict)
    alerts: dict[tuple[str, str], Alert] = field(default_factory=dict)
    published: list[tuple[str, Contract]] = field(default_factory=list)


class MemoryStore:
    """Keeps ports.Store's promises as long as the process lives. What was published is in `published`."""

    def __init__(self) -> None:
        self._record = _Record()
        self._locks: dict[str, asyncio.Lock] = {}
        self._duties: dict[str, object] = {}

    @property
    def published(self) -> Sequence[tuple[str, Contract]]:
        """Topic and event of all that was committed, in order."""
        return tuple(self._record.published)

    @property
    def versions_log(self) -> Sequence[tuple[str, VersionChange]]:
        """Model and change, in order."""
        return tuple(self._record.versions_log)

    @asynccontextmanager
    async def transaction(self, model: str) -> AsyncIterator["MemoryTransaction"]:
        """Open a transaction; all models share one lock. An error inside undoes everything."""
        async with self._locks.setdefault("all", asyncio.Lock()):
            draft = deepcopy(self._record)
            yield MemoryTransaction(draft, model)
            self._record = draft

    async def due_runs(self, now_ms: int) -> Sequence[Run]:
        """Return the retrainings that are under way and due, the longest waiting first."""
        due = [run for run in self._record.runs.values() if run.state in OPEN and run.due_at_ms <= now_ms]
        return sorted(due, key=lambda run: run.due_at_ms)

    async def registrations(self) -> Sequence[Registration]:
        """Return the queue of requests to register, in the order in which they came."""
        return list(self._record.registrations.values())

    async def unaliased(self) -> Sequence[ModelState]:
        """Return the models whose aliases in the registry are older than their state."""
        aliased = self._record.aliased
        return [each for each in self._record.models.values() if aliased.get(each.model, 0) < each.revision]

    async def aliased(self, model: str, revision: int) -> None:
        """Note that the aliases are those of this revision."""
        self._record.aliased[model] = max(revision, self._record.aliased.get(model, 0))

    @asynccontextmanager
    async def leading(self, duty: str) -> AsyncIterator["MemoryLead"]:
        """Try to be the only one with this duty, as long as the context lasts."""
        lead = MemoryLead(self._duties, duty)
        try:
            yield lead
        finally:
            if self._duties.get(duty) is lead:
                del self._duties[duty]


class MemoryLead:
    """The claim to a duty."""

    def __init__(self, duties: dict[str, object], duty: str) -> None:
        self._duties = duties
        self._duty = duty

    async def held(self) -> bool:
        """Return True while this one alone has the duty."""
        return self._duties.setdefault(self._duty, self) is self


class MemoryTransaction:
    """Keeps ports.Transaction's promises."""

    def __init__(self, record: _Record, model: str) -> None:
        self._record = record
        self._model = model

    async def first_time(self, kind: str, event_id: str) -> bool:
        """Return True the first time that this event is heard, and remember it."""
        if (kind, event_id) in self._record.heard:
            return False
        self._record.heard.add((kind, event_id))
        return True

    async def model(self) -> ModelState | None:
        """Return who is in charge; None when nothing is registered."""
        return self._record.models.get(self._model)

    async def version(self, version: str) -> ModelVersion | None:
        """Return what was last known of a version; None when it never had a role."""
        for model, change in reversed(self._record.versions_log):
            if (model, change.version) == (self._model, version) and change.body is not None:
                return change.body
        return None

    async def save_model(self, state: ModelState, changes: Sequence[VersionChange]) -> None:
        """Replace the state, append to the log of versions, and publish the state."""
        self._record.models[self._model] = state
        self._record.versions_log += [(self._model, each) for each in changes]
        await self.publish("models", state)

    async def run(self, retraining_id: str) -> Run | None:
        """Return a retraining."""
        return self._record.runs.get(retraining_id)

    async def open_run(self) -> Run | None:
        """Return the one that is under way."""
        mine = (run for run in self._record.runs.values() if run.model == self._model and run.state in OPEN)
        return next(mine, None)

    async def last_trained_at_ms(self) -> int | None:
        """Return when the last retraining ended that went as far as training."""
        return max(
            (
                run.event.occurred_at_ms
                for run in self._record.runs.values()
                if run.model == self._model and run.state in TRAINED
            ),
            default=None,
        )

    async def save_run(self, run: Run) -> None:
        """Keep a retraining, new or changed."""
        self._record.runs[run.id] = run

    async def add_registration(self, registration: Registration) -> None:
        """Put a request to register into the queue."""
        self._record.registrations[registration.registration_id] = registration

    async def remove_registration(self, registration_id: str) -> None:
        """Take it out of the queue."""
        self._record.registrations.pop(registration_id, None)

    async def open_alert(self, cause: str) -> Alert | None:
        """Return the open episode of this cause."""
        return self._record.alerts.get((self._model, cause))

    async def save_alert(self, alert: Alert) -> None:
        """Keep and publish an episode; a resolved one is forgotten here."""
        if alert.state is AlertState.RESOLVED:
            self._record.alerts.pop((self._model, alert.cause), None)
        else:
            self._record.alerts[self._model, alert.cause] = alert
        await self.publish("alerts", alert)

    async def publish(self, topic: str, event: Contract) -> None:
        """Send an event with the model as key, if and only if all of this is committed."""
        self._record.published.append((topic, event))
