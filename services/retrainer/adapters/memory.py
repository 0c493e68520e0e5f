"""The ports in memory: the same promises, for tests and for trying things out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field

from libs.common.errors import NotFound, Retryable
from schemas.event import Contract
from schemas.health import Alert, AlertState
from schemas.versions import ModelState, ModelVersion, Registration
from services.retrainer.domain.report import Registered, RegistrationOrder, TrainingOrder
from services.retrainer.domain.runs import OPEN, TRAINED, Run
from services.retrainer.domain.versions import VersionChange
from services.retrainer.ports import TrainingResult


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


class MemoryRegistry:
    """Keeps ports.Registry's promises. `away` makes every call raise Retryable."""

    def __init__(self, versions: Mapping[str, set[str]] | None = None) -> None:
        self.versions: dict[str, set[str]] = {model: set(each) for model, each in (versions or {}).items()}
        self.aliases: dict[tuple[str, str], str] = {}
        self.away = False

    async def exists(self, model: str, version: str) -> bool:
        """Return True when this version is registered."""
        self._answer()
        return version in self.versions.get(model, set())

    async def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Let the alias name this version; None removes it."""
        self._answer()
        if version is None:
            self.aliases.pop((model, alias), None)
        elif version in self.versions.get(model, set()):
            self.aliases[model, alias] = version
        else:
            raise NotFound(f"no version {version} of {model}")

    def _answer(self) -> None:
        if self.away:
            raise Retryable("the registry does not answer")


class MemoryWorkshop:
    """Keeps ports.Workshop's promises in this process: `make` stands for a training.

    `troubles` are raised one after the other by the next calls of `train` and `register`.
    """

    def __init__(self, make: Callable[[TrainingOrder], TrainingResult], registry: MemoryRegistry) -> None:
        self._make = make
        self._registry = registry
        self._results: dict[str, TrainingResult] = {}
        self._registered: dict[str, Registered] = {}
        self.troubles: list[Exception] = []
        self.orders: list[TrainingOrder] = []

    async def train(self, order: TrainingOrder) -> None:
        """Train."""
        self._stumble()
        self.orders.append(order)
        self._results[order.retraining_id] = self._make(order)

    def result(self, retraining_id: str) -> TrainingResult | None:
        """Return what a finished training gave."""
        return self._results.get(retraining_id)

    async def register(self, order: RegistrationOrder) -> Registered:
        """Give the candidate the next number, once per retraining id."""
        self._stumble()
        if order.retraining_id not in self._registered:
            versions = self._registry.versions.setdefault(order.model, set())
            version = str(max((int(each) for each in versions), default=0) + 1)
            versions.add(version)
            self._registered[order.retraining_id] = Registered(version=version, run_id=None, created_at_ms=0)
        return self._registered[order.retraining_id]

    def clear(self, retraining_id: str) -> None:
        """Throw the result away."""
        self._results.pop(retraining_id, None)

    def _stumble(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)


class MemoryCounter:
    """Keeps ports.ExampleCounter's promises: the times of the examples of each model are `times_ms`."""

    def __init__(self) -> None:
        self.times_ms: dict[str, list[int]] = {}

    async def count(self, model: str, from_ms: int, *, enough: int) -> int:
        """Return how many examples there are since `from_ms`."""
        return sum(each >= from_ms for each in self.times_ms.get(model, ()))
