"""`python -m benchmarks.assign`: how long one assignment takes, beside GrowthBook and OpenFeature.

Fifty experiments, the same for all: every second with targeting, some with an exclusion group, a holdout or
part of the traffic. Every call asks for one unit and one experiment, with attributes of the unit's own; the
exposure has been told before, as it has for almost every call in production. All in one process on one core;
the contenders take turns, call by call timed, and the order of turns is shuffled. OpenFeature's in-memory
provider evaluates nothing (its flags are constants): its row is what the SDK itself costs.
"""

import argparse
import os
import platform
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import httpx
from growthbook import GrowthBook
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from benchmarks.pinned import split_cores
from benchmarks.run import say
from trimtab import Trimtab
from trimtab.openfeature import TrimtabProvider

EXPERIMENTS, UNITS = 50, 1_000
TURN = 500
"""Calls that a contender makes before the next has its turn."""
MAX_P50_US, MAX_P99_US = 10.0, 50.0
COUNTRIES = ("DE", "FR", "NL", "US")
CONDITION = {"country": {"$in": ["DE", "FR"]}, "age": {"$gte": 18}}

Call = Callable[[str, str, Mapping[str, Any]], object]


@dataclass
class Contender:
    """One way to ask, and what each call took, in nanoseconds."""

    title: str
    call: Call
    took_ns: list[int] = field(default_factory=list)

    def at(self, share: float) -> float:
        """Return the quantile in microseconds."""
        ordered = sorted(self.took_ns)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1_000

    def mean(self) -> float:
        """Return the mean in microseconds."""
        return fmean(self.took_ns) / 1_000


def _rule(number: int, hashing: str) -> dict[str, Any]:
    key = f"experiment-{number}"
    variants = [
        {"key": name, "weight": 1.0, "model_version": None, "payload": f"{name}-{number}"} for name in "ab"
    ]
    rule: dict[str, Any] = {"experiment_id": key, "revision": 1, "closed": "", "salt": key, "control": "a"}
    rule |= {"coverage": 0.5 if number % 5 == 4 else 1.0, "variants": variants, "hashing": hashing}
    if number % 2:
        rule |= {"targeting": CONDITION, "attributes": ["country"]}
    if number % 5 == 2:
        rule["exclusion"] = {"group": "checkout", "start": 0.0, "end": 0.5}
    if number % 5 == 3:
        rule["holdout"] = {"name": "everybody", "share": 0.1}
    return rule


def _feature(number: int) -> dict[str, Any]:
    """The same experiment in GrowthBook's words; a holdout is a namespace there, too."""
    key = f"experiment-{number}"
    rule: dict[str, Any] = {
        "key": key,
        "seed": key,
        "hashVersion": 2,
        "variations": [f"a-{number}", f"b-{number}"],
    }
    rule |= {"weights": [0.5, 0.5], "coverage": 0.5 if number % 5 == 4 else 1.0, "hashAttribute": "id"}
    if number % 2:
        rule["condition"] = CONDITION
    if number % 5 == 2:
        rule["namespace"] = ["checkout", 0.0, 0.5]
    if number % 5 == 3:
        rule["namespace"] = ["everybody", 0.1, 1.0]
    return {"defaultValue": f"a-{number}", "rules": [rule]}


def _client(hashing: str) -> Trimtab:
    rules = {
        "revision": 1,
        "experiments": [_rule(number, hashing) for number in range(EXPERIMENTS)],
        "models": [],
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            known = request.headers.get("if-none-match") == '"1"'
            return httpx.Response(304) if known else httpx.Response(200, json=rules, headers={"etag": '"1"'})
        count = request.content.count(b'"event_id"')
        return httpx.Response(202, json={"accepted": count, "rejected": []})

    return Trimtab(
        "http://gateway", "http://assignment", max_queue=100_000, transport=httpx.MockTransport(answer)
    )


def _trimtab(client: Trimtab) -> Call:
    return lambda unit, key, attributes: client.assign(unit, key, attributes)


def _growthbook() -> Call:
    features = {f"experiment-{number}": _feature(number) for number in range(EXPERIMENTS)}
    told = GrowthBook(features=features, on_experiment_viewed=lambda **_: None)

    def call(unit: str, key: str, attributes: Mapping[str, Any]) -> object:
        told.set_attributes({"id": unit, **attributes})
        return told.eval_feature(key)

    return call


def _openfeature(flags: OpenFeatureClient) -> Call:
    return lambda unit, key, attributes: flags.get_string_details(
        key, "", EvaluationContext(unit, attributes)
    )


def _in_memory() -> InMemoryProvider:
    return InMemoryProvider(
        {f"experiment-{n}": InMemoryFlag("a", {"a": f"a-{n}", "b": f"b-{n}"}) for n in range(EXPERIMENTS)}
    )


def contenders(clients: Sequence[Trimtab]) -> list[Contender]:
    """Return all contenders, ready to be asked; `clients` are started, of both hashes."""
    api.set_provider_and_wait(_in_memory(), domain="memory")
    api.set_provider_and_wait(TrimtabProvider(clients[0]), domain="trimtab")
    return [
        Contender("Trimtab.assign", _trimtab(clients[0])),
        Contender("Trimtab.assign, GrowthBook's hash", _trimtab(clients[1])),
        Contender("GrowthBook.eval_feature", _growthbook()),
        Contender("OpenFeature, in-memory provider", _openfeature(api.get_client("memory"))),
        Contender("OpenFeature, Trimtab's provider", _openfeature(api.get_client("trimtab"))),
    ]


def _questions(chance: random.Random) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    while True:
        unit = chance.randrange(UNITS)
        # The id is made anew for each call, as it is when it comes out of a request.
        yield f"user-{unit}", f"experiment-{chance.randrange(EXPERIMENTS)}", _attributes(unit)


def _attributes(unit: int) -> dict[str, Any]:
    return {"country": COUNTRIES[unit % 4], "age": 10 + unit % 60, "premium": unit % 3 == 0}


def agreement(trimtab: Contender, growthbook: Contender) -> tuple[int, int]:
    """Return on how many assignments the two agree, of how many that both hash alike: all but those with an
    exclusion group or a holdout, whose places GrowthBook works out by its first hash."""
    agreed = asked = 0
    for number in (each for each in range(EXPERIMENTS) if each % 5 not in (2, 3)):
        for unit in range(UNITS):
            key, attributes = f"experiment-{number}", _attributes(unit)
            ours: Any = trimtab.call(f"user-{unit}", key, attributes)
            theirs: Any = growthbook.call(f"user-{unit}", key, attributes)
            agreed += ours.value == theirs.value
            asked += 1
    return agreed, asked


def _turn(contender: Contender, questions: Iterator[tuple[str, str, Mapping[str, Any]]]) -> None:
    asked = [next(questions) for _ in range(TURN)]
    call, took_ns, clock = contender.call, contender.took_ns, time.perf_counter_ns
    for unit, key, attributes in asked:
        began = clock()
        call(unit, key, attributes)
        took_ns.append(clock() - began)


def measure(found: Sequence[Contender], calls: int) -> None:
    """Ask every contender about every unit and experiment once, then so many times in turns."""
    for contender in found:
        for unit in range(UNITS):
            for number in range(EXPERIMENTS):
                contender.call(f"user-{unit}", f"experiment-{number}", _attributes(unit))
    chance = random.Random(7)
    questions = _questions(chance)
    for _ in range(max(1, calls // TURN)):
        for contender in chance.sample(found, len(found)):
            _turn(contender, questions)


def table(found: Sequence[Contender]) -> str:
    """Return the rows, and whether the limits are kept."""
    ours = found[0]
    lines = [f"{'one call, in microseconds':<36} {'p50':>7} {'p99':>7} {'mean':>7} {'p50 / ours':>11}"]
    lines.append("-" * len(lines[0]))
    for each in found:
        ratio = each.at(0.5) / ours.at(0.5)
        lines.append(
            f"{each.title:<36} {each.at(0.5):>7.2f} {each.at(0.99):>7.2f} {each.mean():>7.2f} {ratio:>11.1f}"
        )
    kept = "kept" if within_limits(ours) else "NOT kept"
    lines.append(f"limits for Trimtab.assign: p50 < {MAX_P50_US:g}, p99 < {MAX_P99_US:g}: {kept}")
    return "\n".join(lines)


def within_limits(ours: Contender) -> bool:
    """True when the client keeps its limits."""
    return ours.at(0.5) < MAX_P50_US and ours.at(0.99) < MAX_P99_US


def main() -> int:
    """Measure and print. Returns 1 when the limits are not kept, or the two do not agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=100_000, help="calls of each contender")
    options = parser.parse_args()
    core, _ = split_cores()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    say(f"Python {platform.python_version()}, core {core}, load when it began {os.getloadavg()[0]:.1f}")
    with _client("trimtab") as client, _client("growthbook_v2") as other:
        found = contenders((client, other))
        agreed, asked = agreement(found[1], found[2])
        say(f"Trimtab by GrowthBook's hash and GrowthBook agree on {agreed:,} of {asked:,} assignments")
        measure(found, options.calls)
        say(table(found))
    api.shutdown()
    return 0 if within_limits(found[0]) and agreed == asked else 1


if __name__ == "__main__":
    raise SystemExit(main())
