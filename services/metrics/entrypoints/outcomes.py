"""Tells of events that counted for nothing: to operators in the log, to Prometheus in a counter."""

import logging
from collections import Counter

from libs.common.lifecycle import Stop
from libs.common.telemetry.names import EVENTS_IGNORED, collector
from services.metrics.domain.outcomes import Outcomes

log = logging.getLogger(__name__)

REPORT_INTERVAL_MS = 60_000
COUNT_INTERVAL_MS = 1_000


async def report_outcomes(outcomes: Outcomes, stop: Stop, *, interval_ms: int = REPORT_INTERVAL_MS) -> None:
    """Say which limits were met since the last time, until `stop`."""
    said = outcomes.over_limits()
    while not await stop.sleep(interval_ms):
        found = outcomes.over_limits()
        if found != said:
            log.warning("events ignored at a limit since the start (see IngestLimits): %s", found)
        said = found


async def count_outcomes(outcomes: Outcomes, stop: Stop, *, interval_ms: int = COUNT_INTERVAL_MS) -> None:
    """Keep telemetry up to date until `stop`, and once more then. What is replayed is counted again."""
    shown: Counter[str] = Counter()
    ended = False
    while not ended:
        ended = await stop.sleep(interval_ms)
        found = Counter(outcomes.ignored())
        for reason, count in (found - shown).items():
            collector(EVENTS_IGNORED).labels(reason).inc(count)
        shown = found
