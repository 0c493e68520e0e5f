"""Follow what becomes of a version's trial: promoted, given up, or rolled back and quarantined."""

from dataclasses import dataclass

from libs.common.clock import Clock
from schemas.experiments import Experiment, ExperimentKind, ExperimentState, Rollback
from schemas.versions import ModelState, ModelVersion
from services.retrainer.domain import versions
from services.retrainer.ports import Store, Transaction

_ENDS = frozenset({ExperimentState.PROMOTED, ExperimentState.ROLLED_BACK, ExperimentState.STOPPED})


@dataclass(frozen=True, slots=True)
class FollowTrials:
    """The handler. The end of each experiment and each rollback counts once; of models that nobody registered
    nothing is kept."""

    store: Store
    clock: Clock

    async def experiment(self, experiment: Experiment) -> None:
        """Take note of a champion/challenger experiment that ended; others are no trial."""
        if experiment.kind is not ExperimentKind.CHAMPION_CHALLENGER or experiment.model is None:
            return
        if experiment.state not in _ENDS:
            return
        async with self.store.transaction(experiment.model) as transaction:
            before = await transaction.model()
            end_id = f"{experiment.experiment_id}/{experiment.started_at_ms}/{experiment.state.value}"
            if before is None or not await transaction.first_time("trial", end_id):
                return
            tried = [
                each.model_version
                for each in experiment.variants
                if each.key != experiment.control and each.model_version is not None
            ]
            reason = f"experiment {experiment.experiment_id} {experiment.state.value}: {experiment.reason}"
            if experiment.state is ExperimentState.PROMOTED:
                after = await self._promoted(transaction, before, tried, reason)
            else:
                after = versions.without_challenger(before, tried, reason, self.clock.now_ms())
            await _save(transaction, before, after)

    async def rollback(self, rollback: Rollback) -> None:
        """Put the versions that were rolled back into quarantine."""
        if rollback.model is None or not rollback.model_versions:
            return
        async with self.store.transaction(rollback.model) as transaction:
            before = await transaction.model()
            if before is None or not await transaction.first_time("rollback", rollback.rollback_id):
                return
            reason = f"rolled back in {rollback.experiment_id} by {rollback.decided_by}: {rollback.reason}"
            after = versions.with_quarantine(before, rollback.model_versions, reason, self.clock.now_ms())
            await _save(transaction, before, after)

    async def _promoted(
        self, transaction: Transaction, state: ModelState, tried: list[str], reason: str
    ) -> ModelState:
        """Of several versions the model's challenger is the one; else the only one that was tried.

        One that is in quarantine, rolled back since it won, does not take charge: the state stays as it is.
        """
        challenger, now_ms = state.challenger, self.clock.now_ms()
        if challenger is not None and challenger.version in tried:
            winner = challenger
        elif len(tried) == 1:
            winner = await transaction.version(tried[0]) or ModelVersion(
                version=tried[0], origin="registered", created_at_ms=now_ms
            )
        else:
            return state
        if winner.version in state.quarantined:
            return state
        return versions.with_champion(state, state.model, winner, reason=reason, now_ms=now_ms)


async def _save(transaction: Transaction, before: ModelState, after: ModelState) -> None:
    if after is not before:
        await transaction.save_model(after, versions.changes(before, after))
