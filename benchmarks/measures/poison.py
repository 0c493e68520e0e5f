"""Throughput of ingest as shipped under 1 % of poison, beside the same job without any.

Both logs lie ready, each on a stack of its own, and the runs take turns, so that a slow minute of the machine
hits both.
"""

import os
from dataclasses import dataclass
from statistics import median

from benchmarks.log import CONVERSIONS, EXPOSURES, prepare, write
from benchmarks.measures.figures import Figure, exactness
from benchmarks.measures.ground import Ground
from benchmarks.measures.poisoned import poison_in, poisoned
from benchmarks.measures.waits import NotMeasured
from benchmarks.outcome import Outcome, differences
from benchmarks.pinned import split_cores
from benchmarks.programs import ingest
from benchmarks.shipped import run_shipped
from benchmarks.world import World, definitions, make_world
from deploy.local.stack import LocalStack

EVERY = 100
WANTED = 0.8
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Log:
    name: str
    stack: LocalStack
    events: int


async def measure(ground: Ground) -> list[Figure]:
    """Run both in turn and compare their medians."""
    core, others = split_cores()
    world = make_world(scale=ground.scale, seed=1, start_ms=ground.day_ms)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, others)  # brokers and databases inherit it
    try:
        with ground.stack("clean") as clean, ground.stack("poisoned") as bad:
            logs = (await _fill("clean", clean, world, 0), await _fill("poisoned", bad, world, EVERY))
            runs = [[await _run(ground, log, core, number) for log in logs] for number in range(ROUNDS)]
    finally:
        os.sched_setaffinity(0, before)
    return _figures(runs, world, logs[1].events - world.events)


async def _fill(name: str, stack: LocalStack, world: World, every: int) -> _Log:
    servers, events = stack.kafka_bootstrap_servers, world.events
    await prepare(servers, definitions(world.start_ms))
    for topic, facts in ((EXPOSURES, world.exposures), (CONVERSIONS, world.conversions)):
        if every:
            events += poison_in(facts, every)
        await write(servers, topic, poisoned(facts, every) if every else facts)
    return _Log(name, stack, events)


async def _run(ground: Ground, log: _Log, core: int, number: int) -> Outcome:
    group = f"{log.name}-{number}"
    told = {**log.stack.environment, "METRICS_INGEST_GROUP": group}
    file = ground.logs / f"{group}.log"
    outcome = await run_shipped(ingest(), told, core=core, log=file, events=log.events)
    if outcome.why:
        raise NotMeasured(f"{group}: {outcome.why}")
    return outcome


def _figures(runs: list[list[Outcome]], world: World, poison: int) -> list[Figure]:
    clean, bad = (median(each[place].rate for each in runs) for place in (0, 1))
    wrong = [line for each in runs for run in each for line in differences(world.truth, run.result or {})]
    return [
        Figure(
            f"throughput with 1 % poison ({poison:,} of {world.events + poison:,} records), to clean",
            f"{bad / clean:.2f} ({bad:.1f} to {clean:.1f} k events/s, medians of {ROUNDS} on one core)",
            f"at least {WANTED}",
            bad / clean >= WANTED,
        ),
        exactness(wrong),
    ]
