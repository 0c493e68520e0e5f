"""Watch how far the log of exposures is read, while somebody waits to know."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from libs.common.clock import Clock
from libs.common.errors import Retryable
from services.metrics.domain.leaks import LOOK_AGAIN_MS, Watch
from services.metrics.domain.log_marks import LogMark, LogMarks
from services.metrics.ports import LogEnds

log = logging.getLogger(__name__)


class WatchLog:
    """Asks where the log ends, at most once a second, and tells when totals have got there."""

    def __init__(self, ends: LogEnds, clock: Clock, watch: Watch) -> None:
        self._ends = ends
        self._clock = clock
        self._watch = watch
        self._marks = LogMarks()
        self._wanted = False
        self._asked_at_ms = 0

    async def __call__(self) -> None:
        """Ask, if somebody waits. A bus that does not answer is asked again."""
        now_ms = self._clock.now_ms()
        if not self._wanted or now_ms - self._asked_at_ms < LOOK_AGAIN_MS or not self._marks.wants_another:
            return
        self._wanted, self._asked_at_ms = False, now_ms
        try:
            # The moment before the question: what was in the log then lies before the ends.
            self._marks.note(LogMark(now_ms, await self._ends()))
        except Retryable as error:
            log.info("where the log of exposures ends is not known: %s", error.message)

    def wanted(self) -> None:
        """Say that somebody waits for the log to be read further."""
        self._wanted = True

    def watch(self, offsets: Mapping[str, int]) -> Watch:
        """Return what leaks are judged by, for totals that cover these offsets."""
        return replace(self._watch, read_to_ms=self._marks.read_to_ms(offsets))
