"""Who gets a row: variants that exposures name, and units, as long as there is room."""

import numpy as np

from services.metrics.domain.board import Board
from services.metrics.domain.columns import I64, NONE, U64
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.store import Store
from services.metrics.domain.upkeep import Upkeep


class Admission:
    """Makes rows for what is new. What is refused is counted."""

    def __init__(
        self, store: Store, board: Board, upkeep: Upkeep, limits: IngestLimits, outcomes: Outcomes
    ) -> None:
        self._store = store
        self._board = board
        self._upkeep = upkeep
        self._limits = limits
        self._outcomes = outcomes

    def variants(self, names: list[tuple[str, str]]) -> list[int]:
        """Return the places of (experiment, variant), NONE for those that are refused.

        Fewer than were asked for, though at least one, where the next experiment needs the room of others:
        these are forgotten only once what was said about them before is taken in.
        """
        places = self._board.places
        found = list(map(places.get, names))
        if None not in found:
            return [place for place in found if place is not None]
        taken: list[int] = []
        for number, (experiment_id, variant) in enumerate(names):
            place = places.get((experiment_id, variant))
            if place is None:
                if number and self._upkeep.is_crowded and experiment_id not in self._board.tallies:
                    break
                place = self._new_place(experiment_id, variant)
            taken.append(place)
        return taken

    def _new_place(self, experiment_id: str, variant: str) -> int:
        tally = self._board.tallies.get(experiment_id) or self._upkeep.new_tally(experiment_id)
        if tally is None:
            return NONE
        if len(tally.variants) >= self._limits.variants:
            self._outcomes.over_variants += 1
            return NONE
        return self._board.let_in(tally, variant).place

    def units(self, keys: U64) -> I64:
        """Return the rows of units by the hashes of their ids, NONE for those that find no room."""
        rows = self._store.find_units(keys)
        new = np.flatnonzero(rows < 0)
        if not len(new):
            return rows
        fresh, first = np.unique(keys[new], return_index=True)
        if len(fresh) > self._room:
            self._upkeep.make_room_for_units()
            rows = self._store.find_units(keys)
            new = np.flatnonzero(rows < 0)
            fresh, first = np.unique(keys[new], return_index=True)
            fresh = fresh[np.argsort(first)][: self._room]
        self._store.add_units(fresh)
        rows[new] = self._store.find_units(keys[new])
        self._outcomes.over_units += int((rows < 0).sum())
        return rows

    @property
    def _room(self) -> int:
        return max(self._limits.units - self._store.units.n, 0)
