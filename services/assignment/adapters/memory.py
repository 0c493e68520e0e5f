"""A store that keeps every promise of `ports.Store` for as long as the process lives: for tests."""

from collections.abc import Sequence

from libs.common.bus.ports import Message
from libs.common.clock import Clock
from libs.common.errors import Conflict, Retryable
from schemas.experiments import Experiment, ExperimentKind, ExperimentState
from services.assignment.adapters.messages import messages_of
from services.assignment.domain.change import Change, Past
from services.assignment.domain.life import ENDED
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineEntry
from services.assignment.domain.rule_set import Snapshot
from services.assignment.ports import MAX_ENDED


class MemoryStore:
    """Keeps the promises of `ports.Store`. `down` is the switch for an outage; `told` what was published."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._past: dict[str, list[Past]] = {}
        self._models: dict[str, ModelRecord] = {}
        self._log: list[QuarantineEntry] = []
        self._revision = 0
        self.down = False
        self.told: list[Message] = []

    async def find(self, experiment_id: str) -> Experiment | None:
        """Return an experiment as it stands."""
        self._check()
        past = self._past.get(experiment_id)
        return past[-1].experiment if past else None

    async def experiments(self, *, state: ExperimentState | None, limit: int) -> Sequence[Experiment]:
        """Return experiments, the one changed last first."""
        self._check()
        found = [each for each in self._all() if state is None or each.state is state]
        found.sort(key=lambda each: each.experiment_id)
        return sorted(found, key=lambda each: -each.updated_at_ms)[:limit]

    async def history(self, experiment_id: str, *, limit: int) -> Sequence[Past]:
        """Return the newest revisions, oldest first."""
        self._check()
        return self._past.get(experiment_id, [])[-limit:]

    async def live_trial(self, model: str) -> Experiment | None:
        """Return the live trial of a model."""
        self._check()
        return next((each for each in self._all() if each.live and _trial_of(each) == model), None)

    async def live(self) -> Sequence[Experiment]:
        """Return all experiments that are live."""
        self._check()
        return sorted((each for each in self._all() if each.live), key=lambda each: each.experiment_id)

    async def live_count(self) -> int:
        """Return how many experiments are live."""
        self._check()
        return sum(each.live for each in self._all())

    async def save(self, changes: Sequence[Change], *, rules_revision: int | None = None) -> None:
        """Take in all changes or none."""
        self._check()
        if rules_revision not in (None, self._revision):
            raise Conflict("the rules have changed meanwhile")
        past = {key: list(entries) for key, entries in self._past.items()}
        models = dict(self._models)
        for change in changes:
            self._take_in(change, past, models)
        self._past, self._models = past, models
        self._revision += 1
        for change in changes:
            self._log.extend(change.quarantine)
            self.told.extend(messages_of(change, self._clock))

    async def find_model(self, model: str) -> ModelRecord | None:
        """Return what is known of a model."""
        self._check()
        return self._models.get(model)

    async def save_model(self, record: ModelRecord, *, log: Sequence[QuarantineEntry] = ()) -> None:
        """Write a record and its log."""
        self._check()
        _put_model(self._models, record)
        self._log.extend(log)
        self._revision += 1

    async def quarantine_log(self, model: str, *, limit: int) -> Sequence[QuarantineEntry]:
        """Return the newest entries, oldest first."""
        self._check()
        return [each for each in self._log if each.model == model][-limit:]

    async def models(self) -> Sequence[ModelRecord]:
        """Return what is known of every model."""
        self._check()
        return sorted(self._models.values(), key=lambda each: each.model)

    async def rules_revision(self) -> int:
        """Return the number of saves."""
        self._check()
        return self._revision

    async def snapshot(self) -> Snapshot:
        """Return everything that the rules depend on."""
        newest = await self.experiments(state=None, limit=len(self._past))
        ended = [each for each in newest if each.state in ENDED]
        return Snapshot(
            self._revision,
            tuple(await self.live()),
            tuple(ended[:MAX_ENDED]),
            tuple(await self.models()),
        )

    def _check(self) -> None:
        if self.down:
            raise Retryable("the store is down")

    def _all(self) -> list[Experiment]:
        return [entries[-1].experiment for entries in self._past.values()]

    def _take_in(self, change: Change, past: dict[str, list[Past]], models: dict[str, ModelRecord]) -> None:
        experiment = change.experiment
        entries = past.setdefault(experiment.experiment_id, [])
        if experiment.revision != len(entries) + 1:
            raise Conflict(f"{experiment.experiment_id} has changed meanwhile")
        followed = {each.verdict_id for found in past.values() for each in found}
        if change.verdict_id is not None and change.verdict_id in followed:
            raise Conflict(f"verdict {change.verdict_id} was followed before")
        entries.append(Past(experiment, change.verdict_id))
        live = [_trial_of(found[-1].experiment) for found in past.values() if found[-1].experiment.live]
        if experiment.live and experiment.model and live.count(_trial_of(experiment) or "-") > 1:
            raise Conflict(f"{experiment.model} has another live trial")
        if change.model is not None:
            _put_model(models, change.model)


def _put_model(models: dict[str, ModelRecord], record: ModelRecord) -> None:
    before = models.get(record.model)
    if record.row_revision != (before.row_revision if before else 0) + 1:
        raise Conflict(f"what is known of {record.model} has changed meanwhile")
    models[record.model] = record


def _trial_of(experiment: Experiment) -> str | None:
    return experiment.model if experiment.kind is ExperimentKind.CHAMPION_CHALLENGER else None
