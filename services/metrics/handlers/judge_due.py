"""Judge every experiment about which something is new."""

from libs.common.clock import Clock
from services.metrics.handlers.judge import judge
from services.metrics.ports import CaseStore


class JudgeDue:
    """One tick of the leader. Idempotent: a second leader finds nothing left to do."""

    def __init__(self, store: CaseStore, clock: Clock, *, min_interval_ms: int, limit: int = 500) -> None:
        self._store = store
        self._clock = clock
        self._min_interval_ms = min_interval_ms
        self._limit = limit

    async def __call__(self) -> None:
        """Judge at most `limit` experiments, none more often than every `min_interval_ms`."""
        now_ms = self._clock.now_ms()
        due = await self._store.due(judged_before_ms=now_ms - self._min_interval_ms, limit=self._limit)
        for experiment_id in due:
            await self._store.settle(experiment_id, lambda case: judge(case, self._clock.now_ms()))
