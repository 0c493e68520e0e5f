"""Take a retraining its next step: collect, train, validate, register.

Every step starts from what is stored, changes it only if nobody else has, and can be repeated: a process that
is killed anywhere leaves a run that the next one takes on.
"""

import logging
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import Conflict, Refused, Retryable
from schemas.health import Severity
from schemas.versions import ModelVersion, RetrainingState
from services.retrainer.domain import alerts, versions
from services.retrainer.domain.report import Registered, RegistrationOrder, TrainingOrder
from services.retrainer.domain.rules import Rules, window_from_ms
from services.retrainer.domain.runs import Crashed, Run
from services.retrainer.domain.validation import Thresholds, judge
from services.retrainer.handlers.resolve_alerts import resolve_alerts
from services.retrainer.handlers.try_again import try_again
from services.retrainer.ports import ExampleCounter, Store, TrainingResult, Transaction, Workshop

log = logging.getLogger(__name__)

_S = RetrainingState


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a step is tried."""

    poll_ms: int = 2_000
    """Between two looks at the examples."""
    retry_ms: int = 10_000
    """Before a step is repeated that something stood in the way of."""
    max_attempts: int = 3
    """Of a step whose process crashes; what is merely away is waited for without limit."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What every training order has in common: `order` is filled in for each run."""

    order: TrainingOrder
    rules: Rules
    thresholds: Thresholds
    pace: Pace


@dataclass(frozen=True, slots=True)
class AdvanceRun:
    """The handler: one step of one run per call."""

    store: Store
    examples: ExampleCounter
    workshop: Workshop
    clock: Clock
    recipe: Recipe

    async def __call__(self, run: Run) -> None:
        """Take the next step, or note when to try again. Raises Conflict when somebody else took it,
        Retryable when the record is away."""
        step = {
            _S.REQUESTED: self._begin,
            _S.COLLECTING: self._collect,
            _S.TRAINING: self._train,
            _S.VALIDATING: self._validate,
        }[run.state]
        try:
            await step(run)
        except Crashed as error:
            await self.crashed(run, error.message)

    async def crashed(self, run: Run, reason: str) -> None:
        """Note an attempt that crashed: it is made again, or was the last one."""
        pace = self.recipe.pace
        if run.attempts + 1 >= pace.max_attempts:
            await self._end(run, _S.FAILED, f"given up after {pace.max_attempts} attempts: {reason}")
        else:
            log.warning("retraining %s, %s: %s", run.id, run.state.value, reason)
            await self._delay(run, pace.retry_ms, failed=True)

    async def _begin(self, run: Run) -> None:
        wanted, champion = self.recipe.rules.min_examples, await self._champion(run.model)
        if run.outlived_by(champion):
            await self._drop(run, f"version {champion} came into charge since, another than degraded")
            return
        await self._move(run, _S.COLLECTING, f"waits for {wanted} labelled examples", examples=0)

    async def _collect(self, run: Run) -> None:
        rules, now_ms = self.recipe.rules, self.clock.now_ms()
        found = await self.examples.count(run.model, self._from_ms(run), enough=rules.min_examples)
        if found >= rules.min_examples:
            reason = f"trains a {rules.trainer} on at least {found} labelled examples"
            await self._move(run, _S.TRAINING, reason, examples=found)
        elif now_ms >= run.created_at_ms + rules.collect_deadline_ms:
            reason = f"not enough labelled examples: {found} of {rules.min_examples}"
            await self._end(run, _S.REFUSED, reason, examples=found)
        else:
            await self._delay(run, self.recipe.pace.poll_ms, failed=False)

    async def _train(self, run: Run) -> None:
        result = self.workshop.result(run.id)
        if result is None:
            try:
                await self.workshop.train(await self._order(run))
            except Retryable as error:
                await self._wait(run, error)
                return
            except Refused as error:
                await self._end(run, _S.FAILED, error.message)
                return
            result = self.workshop.result(run.id)
        if result is None:
            raise Crashed("the training ended without a result")
        report = result.report
        reason = f"trained on {report.trained_on} examples, validates on the later {report.held_out}"
        details = {"examples": report.examples, "scores": report.all_scores()}
        await self._move(run, _S.VALIDATING, reason, **details)

    async def _validate(self, run: Run) -> None:
        result = self.workshop.result(run.id)
        if result is None:
            await self._move(run, _S.TRAINING, "trains again: the files of the training are gone")
            return
        judgement = judge(result.report, self.recipe.thresholds)
        if not judgement.passed:
            await self._end(run, _S.REJECTED, judgement.reason)
            return
        order = RegistrationOrder(
            retraining_id=run.id,
            model=run.model,
            cause=run.event.cause.value,
            cause_id=run.event.cause_id,
            mlflow_tracking_uri=self.recipe.order.mlflow_tracking_uri,
        )
        try:
            registered = await self.workshop.register(order)
        except Retryable as error:
            await self._wait(run, error)
        except Refused as error:
            await self._end(run, _S.FAILED, error.message)
        else:
            await self._registered(run, result, registered, judgement.reason)

    async def _registered(
        self, run: Run, result: TrainingResult, registered: Registered, reason: str
    ) -> None:
        now_ms = self.clock.now_ms()
        version = ModelVersion(
            version=registered.version,
            run_id=registered.run_id,
            origin="retrained",
            created_at_ms=registered.created_at_ms,
            scores=result.report.all_scores(),
            reference=result.reference,
        )
        why = f"retraining {run.id}: {reason}"
        done = run.moved(_S.REGISTERED, reason, now_ms, version=version.version)
        async with self.store.transaction(run.model) as transaction:
            await _replace(transaction, run, done)
            before = await transaction.model()
            after = versions.with_challenger(before, run.model, version, reason=why, now_ms=now_ms)
            await transaction.save_model(after, versions.changes(before, after))
            await resolve_alerts(transaction, alerts.RETRAINING, alerts.GIVEN_UP, detail=why, now_ms=now_ms)
        self.workshop.clear(run.id)

    async def _order(self, run: Run) -> TrainingOrder:
        return self.recipe.order.model_copy(
            update={
                "retraining_id": run.id,
                "model": run.model,
                "cause": run.event.cause.value,
                "reason": run.why,
                "from_ms": self._from_ms(run),
                "until_ms": run.until_ms or self.clock.now_ms(),
                "champion_version": await self._champion(run.model),
            }
        )

    async def _champion(self, name: str) -> str | None:
        async with self.store.transaction(name) as transaction:
            model = await transaction.model()
        return model.champion.version if model and model.champion else None

    def _from_ms(self, run: Run) -> int:
        return window_from_ms(run.event.since_ms, run.created_at_ms, self.recipe.rules.look_back_ms)

    async def _move(self, run: Run, state: RetrainingState, reason: str, **details: object) -> None:
        moved = run.moved(state, reason, self.clock.now_ms(), **details)
        async with self.store.transaction(run.model) as transaction:
            await _replace(transaction, run, moved)

    async def _drop(self, run: Run, reason: str) -> None:
        """Finish what is no longer wanted: nobody has to be told."""
        now_ms = self.clock.now_ms()
        async with self.store.transaction(run.model) as transaction:
            await _replace(transaction, run, run.moved(_S.REFUSED, reason, now_ms))
            await resolve_alerts(
                transaction, alerts.RETRAINING, alerts.GIVEN_UP, detail=reason, now_ms=now_ms
            )

    async def _end(self, run: Run, state: RetrainingState, reason: str, **details: object) -> None:
        """Finish without a version, tell people, and let the next try for a degradation follow."""
        now_ms = self.clock.now_ms()
        ended = run.moved(state, reason, now_ms, **details)
        severity = Severity.HIGH if state is _S.FAILED else Severity.MEDIUM
        async with self.store.transaction(run.model) as transaction:
            ended = await _replace(transaction, run, ended)
            follows = await try_again(transaction, ended, self.recipe.rules, now_ms)
            detail = "; ".join(part for part in (f"{state.value}: {reason}", follows) if part)
            problem = alerts.Problem(alerts.RETRAINING, severity, detail)
            open_alert = await transaction.open_alert(alerts.RETRAINING)
            await transaction.save_alert(alerts.raised(problem, run.model, open_alert, now_ms))
        self.workshop.clear(run.id)

    async def _wait(self, run: Run, error: Retryable) -> None:
        log.warning("retraining %s, %s, waits: %s", run.id, run.state.value, error.message)
        await self._delay(run, self.recipe.pace.retry_ms, failed=False)

    async def _delay(self, run: Run, pause_ms: int, *, failed: bool) -> None:
        async with self.store.transaction(run.model) as transaction:
            stored = await _check(transaction, run)
            await transaction.save_run(stored.delayed(self.clock.now_ms() + pause_ms, failed=failed))


async def _replace(transaction: Transaction, run: Run, moved: Run) -> Run:
    # Since it was read, it may have come to stand for a degradation.
    moved = moved.for_cause((await _check(transaction, run)).event.cause_id)
    await transaction.save_run(moved)
    await transaction.publish("retraining", moved.event)
    return moved


async def _check(transaction: Transaction, run: Run) -> Run:
    stored = await transaction.run(run.id)
    if stored is None or stored.state is not run.state:
        now = "gone" if stored is None else stored.state.value
        raise Conflict(f"retraining {run.id} was {run.state.value} and is {now}: somebody else took the step")
    return stored
