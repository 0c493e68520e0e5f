"""What the handlers need from outside. `adapters/` keeps the promises; a contract suite holds them to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from libs.common.clock import Clock
from schemas.experiments import Experiment, ExperimentState
from schemas.facts import Exposure
from services.assignment.domain.change import Change, Past
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.rule_set import Snapshot

MAX_LIVE = 1_000
"""Experiments that may be live at once: every client carries them all."""
MAX_ENDED = 1_000
"""Ended experiments that still answer by their id: the newest. Older keys are unknown to clients."""


class Store(Protocol):
    """Experiments, their history, and models. All methods raise Retryable when the database is away."""

    async def find(self, experiment_id: str) -> Experiment | None:
        """Return an experiment as it stands; None when there is none."""

    async def experiments(self, *, state: ExperimentState | None, limit: int) -> Sequence[Experiment]:
        """Return experiments, the one changed last first; those in `state` where one is given."""

    async def history(self, experiment_id: str, *, limit: int) -> Sequence[Past]:
        """Return the newest `limit` revisions of an experiment, oldest first; none of an unknown one."""

    async def live_trial(self, model: str) -> Experiment | None:
        """Return the champion/challenger experiment of the model that is live; there is at most one."""

    async def live_count(self) -> int:
        """Return how many experiments are live."""

    async def save(self, changes: Sequence[Change]) -> None:
        """Write all changes, their history, and the events that tell of them, in one transaction.

        An experiment of revision 1 is new. Raises Conflict, and writes nothing, when a revision does not
        follow on the one in the store, a verdict was followed before, a model's record has changed
        meanwhile, or a model would have two live trials.
        """

    async def find_model(self, model: str) -> ModelRecord | None:
        """Return what is known of a model; None when nothing is."""

    async def save_model(self, record: ModelRecord) -> None:
        """Write a record. Raises Conflict when its row_revision does not follow on the one in the store."""

    async def models(self) -> Sequence[ModelRecord]:
        """Return what is known of every model, by name."""

    async def rules_revision(self) -> int:
        """Return a number that grows with every save."""

    async def snapshot(self) -> Snapshot:
        """Return everything that the rules depend on, as of one moment; at most MAX_ENDED ended ones."""


class Exposures(Protocol):
    """Where exposures go."""

    async def publish(self, exposure: Exposure) -> None:
        """Return once the bus has acknowledged it. Raises Retryable when it does not in time."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every handler works with."""

    store: Store
    clock: Clock
