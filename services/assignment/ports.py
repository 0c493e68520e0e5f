"""What the handlers need from outside. `adapters/` keeps the promises; a contract suite holds them to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from libs.common.clock import Clock
from schemas.experiments import Experiment, ExperimentState
from schemas.facts import Exposure
from services.assignment.domain.change import Change, Past
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineEntry
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

    async def live(self) -> Sequence[Experiment]:
        """Return all experiments that are live, by id."""

    async def live_count(self) -> int:
        """Return how many experiments are live."""

    async def save(self, changes: Sequence[Change], *, rules_revision: int | None = None) -> None:
        """Write all changes, their history, and the events that tell of them, in one transaction.

        An experiment of revision 1 is new. Raises Conflict, and writes nothing, when a revision does not
        follow on the one in the store, a verdict was followed before, a model's record has changed
        meanwhile, a model would have two live trials, or the rules are not at `rules_revision` any more.
        """

    async def find_model(self, model: str) -> ModelRecord | None:
        """Return what is known of a model; None when nothing is."""

    async def save_model(self, record: ModelRecord, *, log: Sequence[QuarantineEntry] = ()) -> None:
        """Write a record, and to the log of its quarantines, in one transaction. Raises Conflict when its
        row_revision does not follow on the one in the store."""

    async def quarantine_log(self, model: str, *, limit: int) -> Sequence[QuarantineEntry]:
        """Return the newest `limit` entries of the log of a model's quarantines, oldest first."""

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


class Given(NamedTuple):
    """The variant that a unit was given, and the experiment's revision then."""

    variant: str
    revision: int


class StickyUnits(Protocol):
    """Which variant each unit of a sticky experiment was given first. All methods raise Retryable when the
    database is away."""

    async def recall(self, unit_id: str, since: Mapping[str, int]) -> Mapping[str, Given]:
        """Return what the unit was given in these experiments, each at the revision there or later."""

    async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
        """Remember what a unit is given, and return what holds: the first that was given at revision `since`
        or later, however many processes there are."""

    async def forget(self, *, limit: int) -> int:
        """Forget units of experiments that have ended, and what was given before `remembers_since`; at most
        `limit` at once. Returns how many."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every handler works with."""

    store: Store
    clock: Clock
