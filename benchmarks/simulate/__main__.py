"""`python -m benchmarks.simulate`: simulate every claim and write the page; ends with 1 on a miss."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulate import (
    coverage,
    detection,
    effects,
    false_alarms,
    planned_looks,
    quantile_alarms,
    shapes,
    small_counts,
    splits,
)
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Table
from benchmarks.simulate.page import Section, claims_of, page
from libs.common.clock import SystemClock

COMMAND = "python -m benchmarks.simulate"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "claims.md"
QUICK = 0.1
SEED = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A section that can be run by itself."""

    title: str
    words: str
    simulations: tuple[Callable[[Ground], Table], ...]


PARTS = {
    "alarms": Part(
        "Looking at any time: false alarms",
        """What decides about rollbacks and ramps is looked at all the time, so its error is that of a
whole run, not that of one look: of a hundred harmless experiments, watched to the end, no more than the
given number may ever be rolled back. The first table is about that. The others ask the same of
everything else that is offered as always valid.""",
        (
            false_alarms.rollbacks,
            false_alarms.approvals,
            false_alarms.lifts,
            effects.differences,
            small_counts.tests,
            small_counts.intervals,
            quantile_alarms.quantiles,
            shapes.shapes,
        ),
    ),
    "detection": Part(
        "Looking at any time: power",
        """What the caution costs: the units it takes until true harm is found. Compare the medians with
the traffic of a service to know after what time a bad variant is gone.""",
        (detection.harms,),
    ),
    "coverage": Part(
        "One planned look: coverage",
        """Intervals of a fixed horizon should hold the truth in 95 % of the runs at the one look they were
planned for, and promise nothing at any other. No automatic action rests on them.""",
        (coverage.proportions, coverage.values, coverage.quantiles),
    ),
    "splits": Part(
        "Who is in the sample",
        """The sample-ratio test is looked at all the time, too: a false alarm costs an engineer's morning, a
missed mismatch the experiment.""",
        (splits.false_alarms, splits.mismatches),
    ),
    "looks": Part(
        "A few planned looks",
        """Group-sequential plans keep their error rate at the looks that were planned, and at no others.""",
        (planned_looks.type_one,),
    ),
}


def main() -> int:
    """Simulate what the command line asks for; return 1 when a claim is missed, 2 for a bad command line."""
    options = _options()
    chosen = options.only.split(",") if options.only else list(PARTS)
    unknown = [each for each in chosen if each not in PARTS]
    if unknown:
        print(f"--only: no part {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    ground = Ground(options.seed, QUICK if options.quick else 1.0)
    sections = [_simulate(PARTS[each], ground) for each in chosen]
    out = options.out or (None if options.quick or options.only else PAGE)
    told = page(sections, COMMAND, options.seed)
    if out is None:
        print(told)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(told, encoding="utf-8")
        print(f"written: {out}")
    return _verdict(sections, quick=options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a tenth of the runs, shown: ends with 1 where a claim is refuted",
    )
    parser.add_argument("--only", default="", help=f"some of {','.join(PARTS)}, shown")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, help="write the page there, whatever was run")
    return parser.parse_args()


def _simulate(part: Part, ground: Ground) -> Section:
    clock, tables = SystemClock(), []
    for simulation in part.simulations:
        began_ms = clock.now_ms()
        tables.append(simulation(ground))
        print(
            f"{(clock.now_ms() - began_ms) / 1_000:6.1f} s  {tables[-1].title}", file=sys.stderr, flush=True
        )
    return Section(part.title, part.words, tuple(tables))


def _verdict(sections: list[Section], *, quick: bool) -> int:
    """With a tenth of the runs few claims can be proved: only those whose opposite is proved are missed."""
    missed = [
        (name, claim) for name, claim in claims_of(sections) if (claim.refuted if quick else not claim.kept)
    ]
    for name, claim in missed:
        print(f"MISSED: {name}: {claim}, limit {claim.limit:.3g}, {claim.runs:,} runs", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
