"""Sticky units for as long as the process lives: for tests."""

import asyncio
from collections.abc import Mapping

from libs.common.errors import Retryable
from services.assignment.adapters.memory import MemoryStore
from services.assignment.domain.life import ENDED
from services.assignment.ports import MAX_ENDED, MAX_LIVE, Given


class MemorySticky:
    """Keeps the promises of `ports.StickyUnits`. `down` is the switch for an outage; `asked` counts calls."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._units: dict[tuple[str, str], Given] = {}
        self.down = False
        self.asked = 0

    async def recall(self, unit_id: str, since: Mapping[str, int]) -> Mapping[str, Given]:
        """Return what the unit was given."""
        await self._check()
        found = {key: self._units.get((key, unit_id)) for key in since}
        return {key: given for key, given in found.items() if given and given.revision >= since[key]}

    async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
        """Remember what a unit is given; the first wins."""
        await self._check()
        before = self._units.get((experiment_id, unit_id))
        if before is None or before.revision < since:
            self._units[experiment_id, unit_id] = given
        return self._units[experiment_id, unit_id]

    async def forget(self, *, limit: int) -> int:
        """Forget what no rule asks for any more."""
        await self._check()
        known = await self._store.experiments(state=None, limit=MAX_LIVE + MAX_ENDED)
        since = {each.experiment_id: each.remembers_since for each in known if each.state not in ENDED}
        ended = {each.experiment_id for each in known} - since.keys()
        lost = [
            (key, unit_id)
            for (key, unit_id), given in self._units.items()
            if key in ended or given.revision < since.get(key, 0)
        ]
        for place in lost[:limit]:
            del self._units[place]
        return len(lost[:limit])

    async def _check(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise Retryable("the memory of sticky units is down")
