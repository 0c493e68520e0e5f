"""A measured figure beside what is wanted of it, and the table of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

_HEAD = ("| measurement | figure | wanted | kept |", "|---|---|---|---|")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `kept` says whether the figure is as wanted; None where nothing is."""

    measurement: str
    figure: str
    wanted: str = ""
    kept: bool | None = None


def table(figures: Iterable[Figure]) -> str:
    """Return a table in Markdown."""
    said = {None: "", True: "yes", False: "NO"}
    rows = [f"| {each.measurement} | {each.figure} | {each.wanted} | {said[each.kept]} |" for each in figures]
    return "\n".join([*_HEAD, *rows])


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that at least `share` of them do not exceed; at least one value."""
    ordered = sorted(values)
    return ordered[max(ceil(share * len(ordered)) - 1, 0)]


def exactness(wrong: Sequence[str]) -> Figure:
    """Return a row that says whether results are the true ones; `wrong` has a line for each that is not."""
    return Figure("- results equal to the truth", "; ".join(wrong) or "all", "all", not wrong)
