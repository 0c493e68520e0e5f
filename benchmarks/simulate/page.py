"""The page of claims: what was run, what it found, and what it means, in Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.simulate.claims import Claim, Table, percent


@dataclass(frozen=True, slots=True)
class Section:
    """Tables that belong together."""

    title: str
    words: str
    tables: tuple[Table, ...]


def claims_of(sections: Sequence[Section]) -> Iterator[tuple[str, Claim]]:
    """Yield every claim that has a limit, with its name."""
    for section in sections:
        for table in section.tables:
            for name, claim in table.claims():
                if claim.limit is not None:
                    yield name, claim


def page(sections: Sequence[Section], command: str, seed: int) -> str:
    """Return the whole page; the same sections give the same page, on any machine, at any time."""
    parts = [_HEAD.format(command=command, seed=seed, kept=_summary(list(claims_of(sections))))]
    for section in sections:
        parts.append(f"## {section.title}\n\n{section.words}")
        parts += [_table(table) for table in section.tables]
    return "\n\n".join(parts) + "\n"


_HEAD = """# Claims, by simulation

<!-- Written by `{command}`: edit benchmarks/simulate, not this page. -->

    {command}

Seed {seed}. {kept}

Every figure is a share of simulated runs, `estimate (95 % bound)`: the bound is the one-sided one of
Clopper and Pearson, on the side of the limit. A claim is kept when that bound, not only the estimate,
keeps the limit. Otherwise it is marked: **?** where the runs prove neither the claim nor its opposite,
**FAILS** where they prove the opposite; either ends the command with 1. Figures in *italics* are shown
and held to no limit. A bound is for one claim by itself: of twenty claims whose true rate is exactly
their limit, one would pass.

Splits are control/treatment; "units" are those of both variants; every unit is assigned by lot. The
random numbers of each cell are derived from the seed and the cell's name, and values are whole numbers
before anything is summed, so the figures are the same wherever the locked versions of the packages
run. Formulas run over whole arrays of runs, and the product's own functions are asked again at alarms,
at near misses and at looks picked by lot: one different answer ends the simulation. Intervals at one
planned look are all the product's own."""


def _summary(claims: list[tuple[str, Claim]]) -> str:
    missed = [(name, claim) for name, claim in claims if not claim.kept]
    if not missed:
        return f"**All {len(claims)} claims are kept.**"
    told = "\n".join(f"- {name}: {claim}" for name, claim in missed)
    return f"**Of {len(claims)} claims {len(missed)} are not proved:**\n\n{told}"


def _table(table: Table) -> str:
    lines = ["| " + " | ".join(table.head) + " |", "|---" * len(table.head) + "|"]
    lines += ["| " + " | ".join([row.name, *(str(cell) for cell in row.cells)]) + " |" for row in table.rows]
    return f"### {table.title}\n\n{table.words}{_runs(table)}\n{_worst(table)}\n" + "\n".join(lines)


def _worst(table: Table) -> str:
    """The claim that comes nearest to its limit, or misses it most: what the table comes down to."""
    held = [(name, claim) for name, claim in table.claims() if claim.limit is not None]
    if not held:
        return ""
    name, worst = max(held, key=lambda each: _nearness(each[1]))
    where = name.removeprefix(f"{table.title}: ")
    return f"\nNearest to its limit of {percent(worst.limit or 0.0)}: {where}, {worst}.\n"


def _nearness(claim: Claim) -> float:
    """Share of the limit that the bound uses up; of the distance to 1 where the limit is one from below."""
    limit = claim.limit or 0.0
    return claim.bound / limit if claim.at_most else (1.0 - claim.bound) / (1.0 - limit)


def _runs(table: Table) -> str:
    most: dict[str, int] = {}
    for name, claim in table.claims():
        column = name.rsplit(": ", 1)[1]
        most[column] = max(claim.runs, most.get(column, 0))
    if len(set(most.values())) == 1:
        return f" Runs: {max(most.values()):,}."
    return " Runs: " + "; ".join(f"{runs:,} ({column})" for column, runs in most.items()) + "."
