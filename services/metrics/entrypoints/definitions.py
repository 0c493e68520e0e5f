"""Reading `experiments` from the beginning, before anything else."""

from libs.common.bus.follow import Follower
from libs.common.lifecycle import Stop, supervise

POLL_INTERVAL_MS = 50


async def caught_up(follower: Follower, stop: Stop) -> bool:
    """Return True as soon as the follower has handled what was in the log, False when `stop` comes first."""
    while not follower.caught_up.is_set():
        if await stop.sleep(POLL_INTERVAL_MS):
            return False
    return True


async def read_definitions(follower: Follower, stop: Stop) -> None:
    """Read the log of definitions once and leave.

    The judge's group remembers offsets, but they speak of a database that may have been restored or emptied
    since. The log is compacted and small, and what is known already changes nothing.
    """
    enough = Stop()

    async def end() -> None:
        while not (stop.is_set() or follower.caught_up.is_set()):
            if await enough.sleep(POLL_INTERVAL_MS):
                return
        enough.set("the definitions are read")

    await supervise(enough, definitions=follower.run(enough), end=end())
