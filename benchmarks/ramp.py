"""`python -m benchmarks.ramp --minutes 10`: a ramp from 10 to 100 % under load, and every unit that it moved.

The service runs as shipped, on Apache Kafka and PostgreSQL. Units ask it over HTTP again and again, each
answer with its exposure acknowledged, and others are assigned by the client's own rules, while the coverage
of five experiments is raised by hand, stage after stage. Every answer is compared with the first in which its
unit took part: another variant, or none any more, is a unit moved. In the end the exposures on the bus count.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer

from benchmarks.load import reachable
from benchmarks.measures.figures import Figure, table
from benchmarks.pinned import on_cores, split_cores
from benchmarks.run import say
from benchmarks.shipped import make_database
from deploy.local.stack import LocalStack
from trimtab import Trimtab

COVERAGES = (0.10, 0.25, 0.50, 1.00)
CONNECTIONS = 16
REMOTE_UNITS, LOCAL_UNITS = 1_000, 20_000
"""Units that are asked for; of those over HTTP so many a minute, so that each stage meets each of them."""
SLICE = 500
"""Local assignments at a time."""
PAUSE_S = 0.05
"""After an answer on a connection, and after a slice: whoever raises the coverage has to get through."""

EQUAL = [{"key": "control"}, {"key": "treatment"}]
SHARES = [{"key": "control", "weight": 5}, {"key": "red", "weight": 3}, {"key": "green", "weight": 2}]
EXPERIMENTS: Mapping[str, dict[str, Any]] = {
    "equal": {"variants": EQUAL},
    "three": {"variants": SHARES},
    "growthbook": {"variants": EQUAL, "hashing": "growthbook_v2"},
    "sticky": {"variants": SHARES, "sticky": True},
    # Its stages ask for shares of the larger challenger: the coverage is these times 10 / 3.
    "stages": {
        "variants": SHARES,
        "policy": {"ramp": [{"share": 0.3 * each, "min_duration_ms": 0} for each in COVERAGES]},
    },
}


@dataclass(slots=True)
class Watch:
    """Where units take part, by one way of asking, and whom that moved."""

    name: str
    given: dict[tuple[str, str], str]
    """By experiment and unit: the first variant in which it took part. All ways of asking share it."""
    inside: set[tuple[str, str]] = field(default_factory=set)
    answers: int = 0
    moved: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stage: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By experiment and variant ("" for none): answers of the stage."""

    def see(self, experiment_id: str, unit_id: str, variant: str | None) -> None:
        """Take in one answer; `variant` is None for a unit that takes no part."""
        self.answers += 1
        self.stage[experiment_id, variant or ""] += 1
        place = (experiment_id, unit_id)
        if variant is None:
            if place in self.inside:
                self.moved.append(f"{unit_id} left {experiment_id}")
            return
        self.inside.add(place)
        first = self.given.setdefault(place, variant)
        if first != variant:
            self.moved.append(f"{unit_id} in {experiment_id}: {first}, then {variant}")


def main() -> None:
    """Run the ramp, print what was counted, and end with 1 when a unit was moved or an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ramp", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the whole ramp")
    options = parser.parse_args()
    core, others = split_cores()
    os.sched_setaffinity(0, others)  # the broker and the database inherit it
    with tempfile.TemporaryDirectory(prefix="bench-ramp-") as home, LocalStack.start(Path(home)) as stack:
        figures = asyncio.run(_measure(stack, Path(home), core, options.minutes))
    say(table(figures))
    if any(each.kept is False for each in figures):
        sys.exit(1)


async def _measure(stack: LocalStack, home: Path, core: int, minutes: float) -> list[Figure]:
    port = _free_port()
    url = await make_database(stack.environment["DATABASE_URL"], "ramp")
    told = {**stack.environment, "DATABASE_URL": url, "ASSIGNMENT_PORT": str(port)}
    own = [sys.executable, "-m", "services.assignment", "http"]
    given: dict[tuple[str, str], str] = {}
    remote, local = Watch("over HTTP", given), Watch("by the client's rules", given)
    with on_cores(own, told, cores={core}, log=home / "service.log"):
        await reachable(port)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            await _create(http)
            shares = await _ramp(http, port, (remote, local), minutes)
            lost = await _lost(http)
        exposed = await _exposed(stack.kafka_bootstrap_servers)
    return [*_figures((remote, local), shares, lost), *_bus(remote, exposed)]


async def _create(http: httpx.AsyncClient) -> None:
    for name, fields in EXPERIMENTS.items():
        basis = {"control": "control", "policy": {"ramp": []}, "coverage": COVERAGES[0]}
        fields = basis | fields | {"experiment_id": name}
        answer = await http.post("/v1/experiments?start=true", json=fields)
        answer.raise_for_status()


async def _ramp(
    http: httpx.AsyncClient, port: int, watches: tuple[Watch, Watch], minutes: float
) -> list[str]:
    """Go through the stages while the load goes on. Returns what each stage's answers were."""
    remote, local = watches
    over = asyncio.Event()
    units = max(1, round(REMOTE_UNITS * minutes))
    client = Trimtab("http://127.0.0.1:9", f"http://127.0.0.1:{port}")  # nothing is told: there is no gateway
    await asyncio.to_thread(client.start)
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(_ask(port, remote, _places(units, number), over))
            group.create_task(_assign(client, local, over))
            said = await _stages(http, watches, minutes * 60 / len(COVERAGES))
            over.set()
    finally:
        client.close(deadline_ms=100)
    return said


async def _stages(http: httpx.AsyncClient, watches: tuple[Watch, Watch], seconds: float) -> list[str]:
    said = []
    for number, coverage in enumerate(COVERAGES):
        if number:
            await _raise(http, coverage)
        await asyncio.sleep(seconds)
        said.append(f"{coverage:.0%}: " + "; ".join(_shares(each) for each in watches))
        say(f"stage {said[-1]}")
    return said


async def _raise(http: httpx.AsyncClient, coverage: float) -> None:
    """Take every experiment to its next stage."""
    for name, fields in EXPERIMENTS.items():
        body: dict[str, object] = {"by": "benchmark", "reason": f"to {coverage:.0%}"}
        if "policy" in fields:
            answer = await http.post(f"/v1/experiments/{name}/advance", json=body)
        else:
            answer = await http.post(f"/v1/experiments/{name}/coverage", json=body | {"coverage": coverage})
        answer.raise_for_status()


def _places(units: int, seed: int) -> Iterator[tuple[str, int]]:
    """Yield experiments and units in an order of its own for each seed, again and again."""
    places = [(name, unit) for name in EXPERIMENTS for unit in range(units)]
    random.Random(seed).shuffle(places)
    return cycle(places)


async def _ask(port: int, watch: Watch, places: Iterator[tuple[str, int]], over: asyncio.Event) -> None:
    """Ask over one connection, one answer after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not over.is_set():
        name, unit = next(places)
        path = f"/v1/assignments/{name}?unit_id=user-{unit}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r", 1)[0])
        body = json.loads(await reader.readexactly(length))
        if not head.startswith(b"HTTP/1.1 200") or body["reason"] not in ("assigned", "outside"):
            watch.errors.append(f"{path}: {head.splitlines()[0]!r} {body.get('reason')}")
            continue
        watch.see(name, f"user-{unit}", body["variant"] if body["in_experiment"] else None)
        await asyncio.sleep(PAUSE_S)
    writer.close()
    await writer.wait_closed()


async def _assign(client: Trimtab, watch: Watch, over: asyncio.Event) -> None:
    number = 0
    names = list(EXPERIMENTS)
    while not over.is_set():
        for _ in range(SLICE):
            name, unit = names[number % len(names)], number // len(names) % LOCAL_UNITS
            number += 1
            found = client.assign(f"user-{unit}", name, expose=False)
            if found.reason not in ("assigned", "outside"):
                watch.errors.append(f"user-{unit} in {name}: {found.reason}")
                continue
            watch.see(name, f"user-{unit}", found.variant if found.in_experiment else None)
        await asyncio.sleep(PAUSE_S)


def _shares(watch: Watch) -> str:
    """Return the shares of the stage's answers that took part, and forget them."""
    seen, watch.stage = watch.stage, Counter()
    shares = []
    for name in EXPERIMENTS:
        every = sum(count for (key, _), count in seen.items() if key == name)
        part = every - seen[name, ""]
        shares.append(f"{name} {part / every:.1%}" if every else f"{name} not asked")
    return f"{watch.name} {', '.join(shares)}"


async def _lost(http: httpx.AsyncClient) -> float:
    """Return what the histories say of all units that lost their variant: the sum of the shares."""
    lost = 0.0
    for name in EXPERIMENTS:
        answer = await http.get(f"/v1/experiments/{name}/history")
        lost += sum(each["lost_share"] for each in answer.raise_for_status().json()["history"])
    return lost


async def _exposed(servers: str) -> dict[tuple[str, str], set[str]]:
    """Return the variants that each unit was exposed to in each experiment, by the exposures on the bus."""
    consumer = AIOKafkaConsumer("exposures", bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[tuple[str, str], set[str]] = {}
    try:
        left = sum((await consumer.end_offsets(consumer.assignment())).values())
        while left > 0:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                left -= len(records)
                for record in records:
                    fact = json.loads(record.value)
                    found.setdefault((fact["experiment_id"], fact["unit_id"]), set()).add(fact["variant"])
    finally:
        await consumer.stop()
    return found


def _figures(watches: tuple[Watch, Watch], shares: list[str], lost: float) -> list[Figure]:
    rows = [Figure(f"stage {number}", said) for number, said in enumerate(shares)]
    for each in watches:
        units = f"{len(each.inside):,} units took part in an experiment"
        rows.append(Figure(f"answers {each.name}", f"{each.answers:,}; {units}"))
        rows.append(_none("- units moved", each.moved))
        rows.append(_none("- answers that failed", each.errors))
    rows.append(Figure("share of units that lost their variant, by the histories", f"{lost}", "0", lost == 0))
    return rows


def _none(what: str, found: list[str]) -> Figure:
    """Return a row for what must not be, with the first of what is."""
    return Figure(what, f"{len(found)} {'; '.join(found[:3])}".strip(), "0", not found)


def _bus(remote: Watch, exposed: Mapping[tuple[str, str], set[str]]) -> list[Figure]:
    several = [f"{place}: {sorted(each)}" for place, each in exposed.items() if len(each) > 1]
    wrong = [str(place) for place in remote.inside if exposed.get(place) != {remote.given[place]}]
    return [
        Figure("units exposed, on the bus", f"{len(exposed):,}"),
        _none("- exposed to several variants of an experiment", several),
        _none("- answered and not exposed, or to another variant", wrong),
    ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    main()
