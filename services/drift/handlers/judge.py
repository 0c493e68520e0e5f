"""Judge what has closed since the last round, and tell."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import msgspec

from libs.common.bus.control import control_message
from libs.common.clock import Clock
from schemas.event import Contract
from schemas.health import ModelHealth
from schemas.versions import ModelState
from services.drift.domain.closing import ClosingTime
from services.drift.domain.episodes import degradations
from services.drift.domain.health import Seen, health_of
from services.drift.domain.journal import Journal
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import Tally, VersionKey
from services.drift.handlers.advance import Advance, place_of
from services.drift.ports import Desk, ErrorDetector, Ledger

SOURCE = "drift"
_PASSING = {"computed_at_ms", "as_of_ms", "offsets"}
"""Fields of a health record that change without news."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One version in one round."""

    tallies: Sequence[Tally]
    state: ModelState | None
    seen: Seen
    closed_until_ms: int


class Judge:
    """One round per call, safe to repeat and to run twice at once: rounds wait for one another, and all that
    a round decides is written in one transaction with what it tells."""

    def __init__(self, ledger: Ledger, detector: ErrorDetector, policy: JudgePolicy, clock: Clock) -> None:
        self._ledger = ledger
        self._advance = Advance(detector, policy)
        self._policy = policy
        self._clock = clock
        self._closing = ClosingTime(lateness_ms=policy.lateness_ms, idle_ms=policy.idle_ms)
        self._published: dict[VersionKey, ModelHealth] = {}

    async def __call__(self) -> None:
        """Judge the windows that have closed. Raises Retryable when the record does not answer."""
        async with self._ledger.transaction() as desk:
            healths = {}
            cases = await self._cases(desk)
            journals = await desk.journals(sorted(cases))
            for key, case in sorted(cases.items()):
                healths[key] = await self._judge(desk, journals.get(key) or Journal(key), case)
        # Only now is it certain that they were told.
        self._published = healths

    async def _cases(self, desk: Desk) -> dict[VersionKey, _Case]:
        progress = await desk.progress()
        watermarks: dict[Hashable, int] = {}
        for number, each in progress.items():
            watermarks["predictions", number] = each.watermark_ms
            watermarks["feedback", number] = each.feedback_ms
        closed_ms = self._closing.closed_until(watermarks, self._clock.monotonic_ms())
        models, offsets = await desk.models(), await desk.offsets()
        totals = {each.key: each for each in await desk.totals()}
        as_of_ms = max(watermarks.values(), default=0)
        return {
            key: _Case(
                tallies,
                models.get(key.model),
                Seen(totals[key].predictions, totals[key].labelled, as_of_ms, offsets),
                closed_ms,
            )
            for key, tallies in (await desk.tallies()).items()
        }

    async def _judge(self, desk: Desk, journal: Journal, case: _Case) -> ModelHealth:
        policy, key = self._policy, journal.key
        before = msgspec.json.encode(journal)
        place = place_of(key.version, case.state, self._clock.now_ms())
        last_ms = case.closed_until_ms - policy.window_ms
        closed = [each for each in case.tallies if each.start_ms <= last_ms]
        for alert in await self._advance(desk, journal, closed, place):
            await self._tell(desk, "alerts", key.model, alert)
        for each in degradations(journal, place.standing, policy, dict(case.seen.offsets), place.now_ms):
            await self._tell(desk, "degradations", key.model, each)
        health = health_of(journal, case.seen, policy, place.now_ms)
        known = self._published.get(key)
        if known is None or known.model_dump(exclude=_PASSING) != health.model_dump(exclude=_PASSING):
            await self._tell(desk, "model-health", health_key(key), health)
        if msgspec.json.encode(journal) != before:
            await desk.save(journal)
        await self._prune(desk, journal, case, serving=place.standing.serving)
        return health

    async def _prune(self, desk: Desk, journal: Journal, case: _Case, *, serving: bool) -> None:
        """Let old windows go once they were judged, or when nobody will judge them."""
        kept_ms = self._policy.keep_windows * self._policy.window_ms
        before_ms = (journal.judged_until_ms if serving else case.closed_until_ms) - kept_ms
        if case.tallies and case.tallies[0].start_ms < before_ms:
            await desk.prune(journal.key, before_ms)

    async def _tell(self, desk: Desk, topic: str, key: str, event: Contract) -> None:
        await desk.enqueue(control_message(topic, key, event, source=SOURCE, clock=self._clock))


def health_key(key: VersionKey) -> str:
    """Return the record key on `model-health`. The version is part of it: with the model alone, compaction
    would leave only the version that was told of last, and champion and challenger overwrite each other."""
    return f"{key.model}.{key.version}"
