"""Forgets the units of sticky experiments that no rule asks for any more."""

import logging

from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from services.assignment.ports import StickyUnits

log = logging.getLogger(__name__)

INTERVAL_MS = 60_000
AT_ONCE = 10_000
"""Units in one statement, so that none holds its locks for long."""


async def forget_units(sticky: StickyUnits, stop: Stop, *, interval_ms: float = INTERVAL_MS) -> None:
    """Forget, again and again until `stop`, `interval_ms` milliseconds apart. An outage is waited out."""
    while not await stop.sleep(interval_ms):
        forgotten = AT_ONCE
        while forgotten == AT_ONCE and not stop.is_set():
            try:
                forgotten = await sticky.forget(limit=AT_ONCE)
            except Retryable as error:
                log.warning("units are forgotten later: %s", error.message)
                break
            if forgotten:
                log.info("sticky units forgotten: %d", forgotten)
