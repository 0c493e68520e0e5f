"""Units that keep their variant while weights change (bandits): remembered here, and where others can see.

The evaluation asks `recall` for experiments whose units are sticky and no others.
"""

import logging
from typing import Protocol

from trimtab.buffer import Memory
from trimtab.stats import Tally

log = logging.getLogger("trimtab")

Given = tuple[str, int]
"""A variant, and the experiment's revision when the unit got it."""


class StickyStore(Protocol):
    """A memory that several processes share, such as Redis.

    Its calls are made inside `assign` (with asyncio too: they hold up the event loop), at most two each time:
    give it a short time-out. `get` is asked until this process knows what the unit was given, so at every
    call for a unit that takes no part. What it raises is counted (`stats().sticky_errors`), and the
    assignment goes on without it.
    """

    def get(self, experiment_id: str, unit_id: str) -> Given | None:
        """Return the variant that the unit was given and the experiment's revision then, None if unknown."""
        ...

    def put(self, experiment_id: str, unit_id: str, variant: str, revision: int) -> None:
        """Remember, in place of what was known."""
        ...


class StickyUnits:
    """What this process knows of sticky units, up to a limit, before the shared store if there is one."""

    def __init__(self, limit: int, store: StickyStore | None, tally: Tally) -> None:
        """Errors of the store are counted in the tally as `sticky_errors`."""
        self._known: Memory[Given] = Memory(limit)
        self._store = store
        self._tally = tally

    def reborn(self) -> None:
        """Lose the locks of a parent process; what it knew of units still holds."""
        self._known.reborn()

    def recall(self, experiment_id: str, unit_id: str, since: int) -> Given | None:
        """Return what the unit was given, None when unknown. The store is asked only where this process
        knows nothing that was given at revision `since` or later. Raises nothing."""
        pair = (experiment_id, unit_id)
        known = self._known.get(pair)
        if self._store is None or (known is not None and known[1] >= since):
            return known
        try:
            found = self._store.get(experiment_id, unit_id)
            if found is None:
                return None
            given = (str(found[0]), int(found[1]))
        except Exception as error:  # noqa: BLE001 - a stranger's store: the unit counts as new
            self._failed("get", error)
            return None
        self._known.put(pair, given)
        return given

    def remember(self, experiment_id: str, unit_id: str, given: Given, since: int) -> None:
        """Remember what a unit was given, unless it is known to have been given something at `since` or
        later. Raises nothing."""
        pair = (experiment_id, unit_id)
        known = self._known.get(pair)
        if known is not None and known[1] >= since:
            return
        self._known.put(pair, given)
        if self._store is None:
            return
        try:
            self._store.put(experiment_id, unit_id, *given)
        except Exception as error:  # noqa: BLE001 - as above: this process still knows
            self._failed("put", error)

    def _failed(self, verb: str, error: Exception) -> None:
        errors = self._tally.add("sticky_errors")
        if errors & (errors - 1) == 0:  # at 1, 2, 4, 8, ...: said, without a flood
            log.warning("trimtab: %s of the sticky store failed (%d errors so far): %r", verb, errors, error)
