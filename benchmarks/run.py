"""`python -m benchmarks.run`: trimtab beside its peers: one broker, one core each, one truth."""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.log import CONVERSIONS, EXPOSURES, SMALL, fill
from benchmarks.outcome import Outcome
from benchmarks.pinned import run_peer, split_cores
from benchmarks.programs import PROGRAMS, Program, Unavailable
from benchmarks.shipped import run_shipped
from benchmarks.table import heading, table
from benchmarks.world import HOUR_MS, WINDOW_MS, World, make_world
from deploy.local.stack import LocalStack
from libs.common.clock import SystemClock

SMALL_SHARE = 0.1
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Ground:
    """What every run stands on."""

    stack: LocalStack
    logs: Path
    scratch: Path
    """Where the peers keep their state; removed at the end."""
    core: int
    worlds: dict[bool, World]
    """By whether it is the small one."""


def main() -> None:
    """Run what the command line asks for and print the table."""
    options = _options()
    chosen = [each for each in PROGRAMS if not options.only or each.letter in options.only.split(",")]
    if not chosen:
        raise SystemExit(f"--only: no such program; there are {', '.join(each.letter for each in PROGRAMS)}")
    gc.disable()  # of the harness: millions of tuples without a cycle
    core, others = split_cores()
    os.sched_setaffinity(0, others)  # the broker and the database inherit it
    say(heading(core, others))
    now_ms = SystemClock().now_ms()
    start_ms = now_ms - now_ms % HOUR_MS - DAY_MS
    full = make_world(scale=options.scale, seed=options.seed, start_ms=start_ms)
    small = make_world(scale=options.scale * SMALL_SHARE, seed=options.seed, start_ms=start_ms)
    with tempfile.TemporaryDirectory(prefix="bench-") as home, LocalStack.start(Path(home)) as stack:
        asyncio.run(fill(stack.kafka_bootstrap_servers, full, small))
        say(f"{full.events:,} events in the log ({small.events:,} in the small one)\n")
        scratch = Path(home) / "peers"
        scratch.mkdir()
        ground = Ground(stack, _log_folder(options.logs), scratch, core, {False: full, True: small})
        runs = _run_all(ground, chosen, options.repeat)
    say("\n" + table(runs, {key: each.truth for key, each in ground.worlds.items()}))


def say(line: str) -> None:
    """Show a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", default="", help="letters of the programs with commas, such as a,b,f")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the job: 0.1 for a quick look")
    parser.add_argument("--repeat", type=int, default=1, help="rounds; the table shows medians")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", default="", help="where the programs' own logs go (default: a new folder)")
    return parser.parse_args()


def _log_folder(wanted: str) -> Path:
    folder = Path(wanted) if wanted else Path(tempfile.mkdtemp(prefix="bench-logs-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run_all(ground: Ground, programs: list[Program], rounds: int) -> dict[Program, list[Outcome]]:
    """Round by round, so that a slow minute of the machine does not hit one program alone."""
    runs: dict[Program, list[Outcome]] = {each: [] for each in programs}
    for number in range(1, rounds + 1):
        for program in programs:
            outcome = _run(ground, program, number)
            runs[program].append(outcome)
            told = outcome.why or f"{outcome.rate:.1f} k/s, steady {outcome.steady_rate:.1f}"
            say(f"round {number} ({program.letter}) {program.title}: {told}")
    return runs


def _run(ground: Ground, program: Program, number: int) -> Outcome:
    world = ground.worlds[program.small]
    group = f"bench-{'upper-' if program.letter.isupper() else ''}{program.letter.lower()}-{number}"
    log = ground.logs / f"{group}.log"
    try:
        command = program.command()
    except Unavailable as error:
        return Outcome(why=str(error))
    if program.shipped:
        told = {**ground.stack.environment, "METRICS_INGEST_GROUP": group}
        return asyncio.run(run_shipped(command, told, core=ground.core, log=log, events=world.events))
    prefix = SMALL if program.small else ""
    told = {
        "BENCH_SERVERS": ground.stack.kafka_bootstrap_servers,
        "BENCH_GROUP": group,
        "BENCH_EXPOSURES": prefix + EXPOSURES,
        "BENCH_CONVERSIONS": prefix + CONVERSIONS,
        "BENCH_EVENTS": str(world.events),
        "BENCH_WINDOW_MS": str(WINDOW_MS),
        "TMPDIR": str(ground.scratch),
        "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={ground.scratch}",
        **program.environment,
    }
    return run_peer(command, told, core=ground.core, log=log)


if __name__ == "__main__":
    main()
