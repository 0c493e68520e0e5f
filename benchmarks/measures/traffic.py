"""Load as it comes in: 2,000 events a second."""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice

from benchmarks.measures.slices import SLICE_UNITS, Records, placed
from benchmarks.measures.writer import TICK_MS
from benchmarks.world import CONVERSIONS, EXPOSURES, UNITS, ConversionFact, ExposureFact, World, make_world

RATE = 2_000
PER_TICK = RATE * TICK_MS // 1_000

AnyFact = ExposureFact | ConversionFact


def in_order(*worlds: World) -> Iterator[AnyFact]:
    """Yield the facts of some worlds in order of arrival."""
    logs: list[Iterable[AnyFact]] = [log for each in worlds for log in (each.exposures, each.conversions)]
    return merge(*logs)


def ticks(facts: Iterable[AnyFact]) -> Iterator[Records]:
    """Yield what comes in each tick."""
    rest = iter(facts)
    while tick := list(islice(rest, PER_TICK)):
        yield placed(tick)


def world_for(seconds: float, start_ms: int) -> World:
    """Return a world whose log takes so long."""
    return make_world(scale=seconds * RATE / (EXPOSURES + CONVERSIONS), seed=1, start_ms=start_ms)


def again(seconds: float, start_ms: int) -> Iterator[AnyFact]:
    """Yield new events of units that `slices` has in its first slices, for so long."""
    events = round(seconds * RATE)
    count = -(-events * UNITS // ((EXPOSURES + CONVERSIONS) * SLICE_UNITS))
    scale = SLICE_UNITS / UNITS
    worlds = [make_world(scale=scale, seed=seed, start_ms=start_ms) for seed in range(1, count + 1)]
    for fact in islice(in_order(*worlds), events):
        yield fact._replace(event_id=f"again-{fact.event_id}")
