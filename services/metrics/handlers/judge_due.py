"""Judge every experiment about which something is new."""

import logging

from libs.common.clock import Clock
from libs.common.errors import Refused
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.known import KnownByExperiment
from services.metrics.domain.leaks import BLIND
from services.metrics.handlers.judge import judge
from services.metrics.handlers.watch_log import WatchLog
from services.metrics.ports import CaseStore

log = logging.getLogger(__name__)


class JudgeDue:
    """One tick of the leader. Idempotent: a second leader finds nothing left to do.

    An experiment whose result the bus does not take, as it is too large, holds up no other: it is settled
    without the result, and an alert says so.

    What it has worked out is kept, bounded: only what has changed is worked out again.
    """

    def __init__(
        self,
        store: CaseStore,
        clock: Clock,
        *,
        min_interval_ms: int,
        limit: int = 500,
        log_read: WatchLog | None = None,
    ) -> None:
        """`log_read` tells how far the log is read; without it no rollback is verified."""
        self._store = store
        self._clock = clock
        self._min_interval_ms = min_interval_ms
        self._limit = limit
        self._log_read = log_read
        self._known = KnownByExperiment()

    async def __call__(self) -> None:
        """Judge at most `limit` experiments, none more often than every `min_interval_ms`."""
        if self._log_read is not None:
            await self._log_read()
        now_ms = self._clock.now_ms()
        due = await self._store.due(judged_before_ms=now_ms - self._min_interval_ms, limit=self._limit)
        for experiment_id in due:
            try:
                await self._settle(experiment_id)
            except Refused as error:
                log.warning("%s: no result can be published: %s", experiment_id, error.message)
                await self._settle_without_result(experiment_id, error.message)

    async def _settle(self, experiment_id: str, refusal: str = "") -> None:
        def decide(case: Case) -> Judgement:
            known = self._known.of(experiment_id, case.experiment.revision)
            watch = BLIND if self._log_read is None else self._log_read.watch(case.totals.offsets)
            found = judge(case, self._clock.now_ms(), refusal=refusal, known=known, watch=watch)
            if self._log_read is not None and found.again_at_ms is not None:
                self._log_read.wanted()
            return found

        await self._store.settle(experiment_id, decide)

    async def _settle_without_result(self, experiment_id: str, refusal: str) -> None:
        try:
            await self._settle(experiment_id, refusal)
        except Refused as error:
            log.error("%s: not even a verdict can be published: %s", experiment_id, error.message)
