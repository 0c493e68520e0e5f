"""What is seen to from time to time, whether somebody asks or not."""

import logging

from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from services.assignment.handlers.keep_trial import open_due_trials
from services.assignment.ports import Desk

log = logging.getLogger(__name__)

INTERVAL_MS = 10_000


async def keep_trials(desk: Desk, stop: Stop, *, interval_ms: float = INTERVAL_MS) -> None:
    """Open the trials that are due, again and again until `stop`, `interval_ms` milliseconds apart.

    Whoever ends a trial opens the next; this one is for when that failed. An outage is logged and waited out.
    """
    while not await stop.sleep(interval_ms):
        try:
            opened = await open_due_trials(desk)
        except Retryable as error:
            log.warning("trials that are due wait: %s", error.message)
        else:
            if opened:
                log.info("trials that were due: %d opened", opened)
