"""`python -m benchmarks.ofrep`: remote evaluations beside a FastAPI endpoint that does nothing.

The service runs as shipped, on Apache Kafka and PostgreSQL, with every answer's exposure acknowledged by the
broker before it. It has a core of its own, and so has the bare endpoint; broker, database and load share the
others. Rounds alternate between the two. At half load requests come at random moments, at half the rate that
the same program answered at most.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
from aiokafka import AIOKafkaConsumer

from benchmarks.load import Answers, Load, reachable
from benchmarks.measures.figures import Figure, quantile, table
from benchmarks.pinned import on_cores, split_cores
from benchmarks.run import say
from benchmarks.shipped import make_database
from deploy.local.stack import LocalStack
from libs.common.clock import SystemClock

EXPERIMENTS = 50
UNITS = 50_000
CONNECTIONS = 64
WARM_S = 3.0
CLOCK = SystemClock()
WANTED_RATIO = 0.6
WANTED_P99_MS = 25.0


@dataclass(slots=True)
class Program:
    """One of the two: where it listens, and what was measured."""

    name: str
    port: int
    saturated: list[Answers] = field(default_factory=list)
    half: list[Answers] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """The median of the rounds at saturation."""
        return median(each.per_second for each in self.saturated)

    @property
    def bad(self) -> int:
        """Answers that were not 200."""
        return sum(each.bad for each in (*self.saturated, *self.half))

    def took_ms(self, share: float) -> float:
        """The median of the rounds of a quantile at half load."""
        return median(quantile(each.took_ms, share) for each in self.half)


def main() -> None:
    """Measure, print the table, and end with 1 when a figure is not as wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ofrep", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    core, others = split_cores()
    os.sched_setaffinity(0, others)  # the broker and the database inherit it
    with tempfile.TemporaryDirectory(prefix="bench-ofrep-") as home, LocalStack.start(Path(home)) as stack:
        figures = asyncio.run(_measure(stack, Path(home), core, options))
    say(table(figures))
    if any(each.kept is False for each in figures):
        sys.exit(1)


async def _measure(stack: LocalStack, home: Path, core: int, options: argparse.Namespace) -> Sequence[Figure]:
    ours, bare = Program("trimtab OFREP", _free_port()), Program("bare FastAPI", _free_port())
    url = await make_database(stack.environment["DATABASE_URL"], "ofrep")
    told = {**stack.environment, "DATABASE_URL": url, "ASSIGNMENT_PORT": str(ours.port)}
    own = [sys.executable, "-m", "services.assignment", "http"]
    peer = [sys.executable, "-m", "benchmarks.bare", str(bare.port)]
    with (
        on_cores(own, told, cores={core}, log=home / "service.log"),
        on_cores(peer, {}, cores={core}, log=home / "bare.log"),
    ):
        await asyncio.gather(reachable(ours.port), reachable(bare.port))
        await _make_experiments(ours.port)
        for number in range(options.rounds):
            for program in (ours, bare):
                await _round(program, options.seconds, first=number == 0)
        exposures = await _exposures(stack.kafka_bootstrap_servers)
    return _figures(ours, bare, exposures)


async def _round(program: Program, seconds: float, *, first: bool) -> None:
    load = Load(program.port, _requests(program.port), CLOCK)
    if first:
        program.saturated.append(await load.saturate(CONNECTIONS, WARM_S))
    program.saturated.append(await load.saturate(CONNECTIONS, seconds))
    rate = program.saturated[-1].per_second
    program.half.append(await load.pace(rate / 2, CONNECTIONS, seconds))
    took = program.half[-1].took_ms
    say(
        f"{program.name}: {rate:,.0f}/s; at half of that p50 {quantile(took, 0.5):.1f} ms, "
        f"p99 {quantile(took, 0.99):.1f} ms"
    )


def _figures(ours: Program, bare: Program, exposures: int) -> list[Figure]:
    answers = sum(len(each.took_ms) for each in (*ours.saturated, *ours.half))
    for each in (ours, bare):
        del each.saturated[0]  # it warmed up
    ratio = ours.per_second / bare.per_second
    p99 = ours.took_ms(0.99)
    return [
        Figure(bare.name, f"{bare.per_second:,.0f} requests/s"),
        Figure("- at half load", f"p50 {bare.took_ms(0.5):.1f} ms, p99 {bare.took_ms(0.99):.1f} ms"),
        Figure(
            f"{ours.name}, one flag of {EXPERIMENTS}, exposure acknowledged",
            f"{ours.per_second:,.0f} requests/s, {ratio:.2f} of the bare endpoint",
            f"at least {WANTED_RATIO}",
            ratio >= WANTED_RATIO,
        ),
        Figure(
            "- at half load",
            f"p50 {ours.took_ms(0.5):.1f} ms, p99 {p99:.1f} ms",
            f"p99 below {WANTED_P99_MS:.0f} ms",
            p99 < WANTED_P99_MS,
        ),
        Figure(
            "- exposures on the bus, of so many answers",
            f"{exposures:,} of {answers:,}, {ours.bad} answers not 200",
            "all",
            exposures == answers and ours.bad == 0,
        ),
    ]


def _requests(port: int) -> list[bytes]:
    made = []
    for number in range(UNITS):
        context = {"targetingKey": f"user-{number}", "country": "de", "plan": "free", "age": 41}
        body = json.dumps({"context": context}).encode()
        path = f"/ofrep/v1/evaluate/flags/flag-{number % EXPERIMENTS}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def _make_experiments(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        for number in range(EXPERIMENTS):
            definition = {
                "experiment_id": f"flag-{number}",
                "variants": [{"key": "control", "payload": "blue"}, {"key": "treatment", "payload": "green"}],
                "control": "control",
                "policy": {"ramp": []},
                "targeting": {"country": {"$in": ["de", "fr"]}},
                "breakdowns": [{"attribute": "country", "values": ["de"]}],
            }
            answer = await http.post("/v1/experiments?start=true", json=definition)
            answer.raise_for_status()


async def _exposures(servers: str) -> int:
    consumer = AIOKafkaConsumer("exposures", bootstrap_servers=servers)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(consumer.assignment())).values())
    finally:
        await consumer.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    main()
