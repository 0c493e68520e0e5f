"""With how many partitions a state was built: units go to partitions by it."""

import logging
from collections.abc import Mapping, Sequence

from libs.common.bus.ports import Bus
from libs.common.errors import Misconfigured, Retryable

log = logging.getLogger(__name__)

PARTITIONS = "#partitions"
"""Beside a snapshot's offsets, with the number. No topic can have this name; older programs pass over it."""


async def count_partitions(bus: Bus, topics: Sequence[str]) -> int | None:
    """Return how many partitions the topics have, None when no broker says so now. Raises Misconfigured when
    they differ."""
    try:
        return max((await bus.admin().ensure_topics(topics)).values())
    except Retryable as error:
        log.info("partitions not counted: %s", error.message)
        return None


def counted(offsets: Mapping[str, int], count: int | None) -> dict[str, int]:
    """Return a snapshot's offsets with the number of partitions, where it is known."""
    return dict(offsets) if count is None else {**offsets, PARTITIONS: count}


def check_count(partition: int, built: int | None, now: int | None) -> None:
    """Raise Misconfigured when the state of a partition was built with another number than there is now."""
    if None in (built, now) or built == now:
        return
    raise Misconfigured(
        f"partition {partition} was built when its topics had {built} partitions, and now they have {now}: "
        "units go elsewhere than before, and would be counted twice",
        next_step=f"make the topics anew with {built} partitions (Kafka takes none away), send the events "
        "again, and give this service the command `reset --yes`; or give it that command alone, and units of "
        "which the log holds records from before and after are counted twice",
    )
