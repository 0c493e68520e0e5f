"""A log too large to be held: the job of `benchmarks.world` in slices of 5,000 units.

The slices have no unit in common, so what is true of the log is the sum of what is true of them. Each is in
order of arrival; between two of them event time goes back by half a day, which ingest takes as lateness.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from multiprocessing import get_context

from benchmarks.log import CONVERSIONS, EXPOSURES
from benchmarks.world import UNITS, ConversionFact, ExposureFact, Truth, make_world
from libs.common.bus.partitioner import partition_of
from schemas.topics import UNIT_PARTITIONS

SLICE_UNITS = 5_000

Place = tuple[str, int]
"""Topic and partition."""
Records = dict[Place, list[tuple[bytes, bytes]]]
"""Keys and values, in the order in which they are appended."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some thousand units: their records, and what is true of them."""

    records: Records
    truth: Truth

    @property
    def events(self) -> int:
        """All records, duplicates included."""
        return sum(map(len, self.records.values()))


def make_slice(seed: int, start_ms: int, units: int = SLICE_UNITS) -> Slice:
    """Return the slice with this number. The same arguments give the same slice."""
    world = make_world(scale=units / UNITS, seed=seed, start_ms=start_ms)
    return Slice(placed(chain(world.exposures, world.conversions)), world.truth)


def slices(units: int, start_ms: int, first_seed: int = 1) -> Iterator[Slice]:
    """Yield the log of about `units` units (at least one slice), made ahead by a process of their own."""
    count = max(round(units / SLICE_UNITS), 1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        ahead = [pool.submit(make_slice, first_seed, start_ms)]
        for seed in range(first_seed + 1, first_seed + count + 1):
            found = ahead.pop().result()
            if seed < first_seed + count:
                ahead.append(pool.submit(make_slice, seed, start_ms))
            yield found


def total(truths: Iterable[Truth]) -> Truth:
    """Return what is true of several slices together."""
    found: dict[str, list[int]] = {}
    for key, figures in chain.from_iterable(each.items() for each in truths):
        sums = found.setdefault(key, [0, 0, 0, 0])
        for index, add in enumerate(figures):
            sums[index] += add
    return {key: (sums[0], sums[1], sums[2], sums[3]) for key, sums in found.items()}


def placed(facts: Iterable[ExposureFact | ConversionFact]) -> Records:
    """Return the records of these facts where the product's own partitioner puts them."""
    records: Records = {}
    for fact in facts:
        topic = EXPOSURES if isinstance(fact, ExposureFact) else CONVERSIONS
        place = topic, _partition_of(fact.unit_id)
        records.setdefault(place, []).append((fact.unit_id.encode(), fact.to_json()))
    return records


@lru_cache(SLICE_UNITS)
def _partition_of(unit_id: str) -> int:
    return partition_of(unit_id.encode(), UNIT_PARTITIONS)
