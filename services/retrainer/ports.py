"""What the retrainer needs from outside."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from schemas.event import Contract
from schemas.health import Alert
from schemas.versions import ModelState, ModelVersion, ReferenceProfile, Registration
from services.retrainer.domain.examples import Answer, Examples
from services.retrainer.domain.report import Registered, RegistrationOrder, TrainingOrder, TrainingReport
from services.retrainer.domain.runs import Run
from services.retrainer.domain.versions import VersionChange


class ExampleCounter(Protocol):
    """Counts labelled production examples."""

    async def count(self, model: str, from_ms: int, *, enough: int) -> int:
        """Return of how many the label became known since `from_ms`; counting may stop when there are
        `enough`."""


class ExampleReader(Protocol):
    """Reads labelled production examples. Blocks: called in a child process."""

    def read(self, model: str, from_ms: int, until_ms: int, *, most: int) -> Examples:
        """Return those whose label became known in the window, in order of the predictions' time, each
        prediction once; of more than `most` the latest. Raises Refused when there are none."""


class ChampionSource(Protocol):
    """Registered versions, in use."""

    def answers(self, model: str, version: str, features: Sequence[str]) -> Answer:
        """Return the version in use on tables with these columns. Raises Retryable when the registry is away,
        Refused when this version cannot be asked, with the reason."""


class TrainingResult(NamedTuple):
    """What a finished training gave, besides the model itself."""

    report: TrainingReport
    reference: ReferenceProfile


class Workshop(Protocol):
    """Where candidates are made: each piece of work in a process of its own, with a time limit."""

    async def train(self, order: TrainingOrder) -> None:
        """Train; `result` has the outcome then.

        Raises Retryable when something it needs is away, Refused when the order cannot be carried out,
        Crashed when the process died or took too long."""

    def result(self, retraining_id: str) -> TrainingResult | None:
        """Return what a finished training gave; None when there is none here (any more)."""

    async def register(self, order: RegistrationOrder) -> Registered:
        """Put the trained candidate into the model registry, once per retraining id. Raises like `train`."""

    def clear(self, retraining_id: str) -> None:
        """Throw the files of a retraining away."""


class Registry(Protocol):
    """The model registry, as far as the worker itself speaks to it."""

    async def exists(self, model: str, version: str) -> bool:
        """Return True when this version is registered. Raises Retryable when the registry is away."""

    async def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Let the alias name this version; None removes it. Raises Retryable when the registry is away,
        NotFound when there is no such version."""


class Transaction(Protocol):
    """All that is remembered of one model, locked; what is written and published here happens together."""

    async def first_time(self, kind: str, event_id: str) -> bool:
        """Return True the first time that this event is heard, and remember it."""

    async def model(self) -> ModelState | None:
        """Return who is in charge; None when nothing is registered."""

    async def version(self, version: str) -> ModelVersion | None:
        """Return what was last known of a version; None when it never had a role."""

    async def save_model(self, state: ModelState, changes: Sequence[VersionChange]) -> None:
        """Replace the state, append to the log of versions, and publish the state."""

    async def run(self, retraining_id: str) -> Run | None:
        """Return a retraining."""

    async def open_run(self) -> Run | None:
        """Return the one that is under way."""

    async def last_trained_at_ms(self) -> int | None:
        """Return when the last retraining ended that went as far as training."""

    async def save_run(self, run: Run) -> None:
        """Keep a retraining, new or changed."""

    async def add_registration(self, registration: Registration) -> None:
        """Put a request to register into the queue."""

    async def remove_registration(self, registration_id: str) -> None:
        """Take it out of the queue."""

    async def open_alert(self, cause: str) -> Alert | None:
        """Return the open episode of this cause."""

    async def save_alert(self, alert: Alert) -> None:
        """Keep and publish an episode; a resolved one is forgotten here."""

    async def publish(self, topic: str, event: Contract) -> None:
        """Send an event with the model as key, if and only if all of this is committed."""


class Lead(Protocol):
    """The claim to a duty."""

    async def held(self) -> bool:
        """Return True while this process alone has the duty. Raises Retryable when that cannot be known."""


class Store(Protocol):
    """The record."""

    def transaction(self, model: str) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction on one model; others wait for it. An error inside undoes everything."""

    async def due_runs(self, now_ms: int) -> Sequence[Run]:
        """Return the retrainings that are under way and due, the longest waiting first."""

    async def registrations(self) -> Sequence[Registration]:
        """Return the queue of requests to register, in the order in which they came."""

    async def unaliased(self) -> Sequence[ModelState]:
        """Return the models whose aliases in the registry are older than their state."""

    async def aliased(self, model: str, revision: int) -> None:
        """Note that the aliases are those of this revision."""

    def leading(self, duty: str) -> AbstractAsyncContextManager[Lead]:
        """Try to be the only process with this duty, as long as the context lasts."""
