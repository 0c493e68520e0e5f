"""From an event's append to the published result that has it in, at 2,000 events a second.

Each result says which offsets it covers: an event is visible with the first result of its experiment that
covers its own. To check that by other means, an experiment of its own gets a new unit now and then, and each
is visible when the result counts it.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise

from benchmarks.log import prepare
from benchmarks.measures.figures import Figure, quantile
from benchmarks.measures.ground import Ground, Site
from benchmarks.measures.slices import Records, placed
from benchmarks.measures.traffic import in_order, ticks, world_for
from benchmarks.measures.waits import wait_for
from benchmarks.measures.watching import Seen, watching
from benchmarks.measures.writer import TICK_MS, Appended, writer
from benchmarks.world import (
    EXPERIMENTS,
    VARIANTS,
    ExposureFact,
    World,
    definitions,
)

SECONDS = 60
SHORTEST_S = 12
LIMIT_MS = 1_500
TAIL_TICKS = 3_000 // TICK_MS
"""At the end, not looked at: an event that changes nothing is visible with the next one that does."""
MARKER = "marker"
MARKER_TICKS = 27
"""A new unit every 1.35 s: no multiple of any interval of the product."""


async def measure(ground: Ground) -> list[Figure]:
    """Let ingest and judge work under load and look when what went in comes out."""
    world = world_for(max(SECONDS * ground.scale, SHORTEST_S), ground.day_ms)
    known = list(definitions(world.start_ms))
    known.append(known[0].model_copy(update={"experiment_id": MARKER}))
    with ground.stack("latency") as stack, ExitStack() as running:
        servers = stack.kafka_bootstrap_servers
        await prepare(servers, known)
        site = await Site.make(stack, "latency", ground.logs)
        ingest = running.enter_context(site.runs("services.metrics", "ingest"))
        running.enter_context(site.runs("services.metrics", "judge"))
        async with writer(servers, ground.clock) as out, watching(servers, "results", ground.clock) as seen:
            await out.write(placed([_marker(0, world.start_ms)]))
            await wait_for(lambda: bool(seen), ingest, what="the first result")
            everything = await out.pace(_load(world))
            sent = [each for each in everything if each.tick < everything[-1].tick - TAIL_TICKS]
            await wait_for(lambda: _all_seen(sent, seen), ingest, what="the last result")
    return _figures(sent, seen)


def _load(world: World) -> Iterator[Records]:
    """Yield the ticks of the world, with a marker among them now and then."""
    for number, tick in enumerate(ticks(in_order(world)), 1):
        if number % MARKER_TICKS == 0:
            for place, pairs in placed([_marker(number // MARKER_TICKS, world.start_ms)]).items():
                tick.setdefault(place, []).extend(pairs)
        yield tick


def _marker(number: int, at_ms: int) -> ExposureFact:
    name = f"marker-{number}"
    return ExposureFact(at_ms, at_ms, name, name, MARKER, VARIANTS[number % len(VARIANTS)])


def _figures(sent: Sequence[Appended], seen: Sequence[Seen]) -> list[Figure]:
    busy, quiet = _busy(sent, seen), _quiet(sent, seen)
    span_s = (sent[-1].sent_ms - sent[0].sent_ms + TICK_MS) / 1_000
    rate = sum(len(each.values) for each in sent) / span_s
    p95 = quantile(busy, 0.95)
    return [
        Figure(
            f"event to visible result, p95 of {len(busy):,} events at {rate:,.0f} events/s",
            f"{p95:,.0f} ms (p50 {quantile(busy, 0.5):,.0f}, largest {max(busy):,.0f})",
            f"below {LIMIT_MS:,} ms",
            p95 < LIMIT_MS,
        ),
        Figure(
            f"- of {len(quiet)} units of an experiment with little traffic, by its counts",
            f"p95 {quantile(quiet, 0.95):,.0f} ms (p50 {quantile(quiet, 0.5):,.0f}, "
            f"largest {max(quiet):,.0f})",
        ),
        Figure(
            "- between two results of an experiment with much traffic",
            f"p50 {quantile(_spaces(seen), 0.5):,.0f} ms",
        ),
    ]


def _spaces(seen: Sequence[Seen]) -> list[float]:
    """Return the times between two results of the same experiment, in ms."""
    times = [[each.at_ms for each in seen if each.body["experiment_id"] == key] for key in EXPERIMENTS]
    return [after - before for each in times for before, after in pairwise(each)]


def _busy(sent: Sequence[Appended], seen: Sequence[Seen]) -> list[float]:
    """Return the latency of every event of the job, in ms; a conversion counts for the first experiment."""
    covered: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    found = []
    for each in sent:
        place = "-".join(map(str, each.place))
        for offset, value in enumerate(each.values, each.first_offset):
            experiment = json.loads(value).get("experiment_id", EXPERIMENTS[0])
            if experiment == MARKER:
                continue
            if (experiment, place) not in covered:
                covered[experiment, place] = _covered(seen, experiment, place)
            offsets, times = covered[experiment, place]
            found.append(times[bisect_right(offsets, offset)] - each.sent_ms)
    return found


def _covered(seen: Sequence[Seen], experiment: str, place: str) -> tuple[list[int], list[float]]:
    """Return the next offsets that an experiment's results covered in a partition, and when."""
    results = [each for each in seen if each.body["experiment_id"] == experiment]
    return [each.body["offsets"].get(place, 0) for each in results], [each.at_ms for each in results]


def _all_seen(sent: Sequence[Appended], seen: Sequence[Seen]) -> bool:
    """Return whether every experiment has results that cover all of these."""
    ends = {"-".join(map(str, each.place)): each.first_offset + len(each.values) for each in sent}
    latest = {each.body["experiment_id"]: each.body["offsets"] for each in seen}
    return all(
        experiment in latest and all(latest[experiment].get(place, 0) >= end for place, end in ends.items())
        for experiment in EXPERIMENTS
    )


def _quiet(sent: Sequence[Appended], seen: Sequence[Seen]) -> list[float]:
    """Return the latency of every marker, in ms."""
    mine = [each for each in seen if each.body["experiment_id"] == MARKER]
    counted = [sum(variant["units"] for variant in each.body["counts"]) for each in mine]
    told = f'"experiment_id":"{MARKER}"'.encode()
    sent_ms = [each.sent_ms for each in sent for value in each.values if told in value]
    # Number 0 went before.
    return [mine[bisect_right(counted, number)].at_ms - at_ms for number, at_ms in enumerate(sent_ms, 1)]
