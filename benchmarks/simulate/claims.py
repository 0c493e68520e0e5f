"""A claim: how often something happened in so many runs, what that bounds, and the limit it is held to."""

from collections.abc import Iterator
from dataclasses import dataclass

from scipy.special import betaincinv

CONFIDENCE = 0.95


def upper_bound(events: int, runs: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson bound that the true rate lies below."""
    return 1.0 if events >= runs else float(betaincinv(events + 1, runs - events, CONFIDENCE))


def lower_bound(events: int, runs: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson bound that the true rate lies above."""
    return 0.0 if not events else float(betaincinv(events, runs - events + 1, 1.0 - CONFIDENCE))


@dataclass(frozen=True, slots=True)
class Claim:
    """A share of runs. It is kept when the bound, not just the estimate, is on the good side of the limit."""

    events: int
    runs: int
    limit: float | None = None
    """None: shown, held to nothing."""
    at_most: bool = True
    """Whether the limit is one from above (errors) or from below (power, coverage)."""
    note: str = ""
    """What else was found, shown behind the figures."""

    @property
    def rate(self) -> float:
        """Return the estimate."""
        return self.events / self.runs

    @property
    def bound(self) -> float:
        """Return the 95 % bound on the side of the limit."""
        return (upper_bound if self.at_most else lower_bound)(self.events, self.runs)

    @property
    def kept(self) -> bool:
        """Return whether the runs prove the claim; what has no limit can't fail."""
        if self.limit is None:
            return True
        return self.bound <= self.limit if self.at_most else self.bound >= self.limit

    @property
    def refuted(self) -> bool:
        """Return whether the runs prove the opposite: what a run too short to prove anything can find."""
        if self.limit is None:
            return False
        if self.at_most:
            return lower_bound(self.events, self.runs) > self.limit
        return upper_bound(self.events, self.runs) < self.limit

    def __str__(self) -> str:
        """Return estimate and bound, marked where the claim is not proved and where nothing is claimed."""
        told = f"{percent(self.rate)} ({'≤' if self.at_most else '≥'} {percent(self.bound)})"
        if self.limit is None:
            return f"*{told}{self.note}*"
        if self.kept:
            return f"{told}{self.note}"
        return f"**{told} FAILS**{self.note}" if self.refuted else f"{told} **?**{self.note}"


def percent(share: float) -> str:
    """Return a share with three figures or so: 95.1 %, 4.56 %, 0.123 %."""
    scaled = 100.0 * share
    if scaled in (0.0, 100.0):
        return f"{scaled:.0f} %"
    return f"{scaled:.{1 if scaled >= 10.0 else 2 if scaled >= 1.0 else 3}f} %"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was simulated, and what was found. A text is shown as it is."""

    name: str
    cells: tuple[Claim | str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Claims of one kind, held to the same limit."""

    title: str
    words: str
    """What was done and what it means, in Markdown."""
    head: tuple[str, ...]
    """Titles of the columns, that of the name first."""
    rows: tuple[Row, ...]

    def claims(self) -> Iterator[tuple[str, Claim]]:
        """Yield every claim with the name of its row and column."""
        for row in self.rows:
            for column, cell in zip(self.head[1:], row.cells, strict=True):
                if isinstance(cell, Claim):
                    yield f"{self.title}: {row.name}: {column}", cell
