"""What the terminal shows: a timeline that stays, a line of progress that moves, the closing tables."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of the closing table."""

    act: str
    what: str
    at_s: float
    took_s: float | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A count as Trimtab has it and as the traffic program's ledger has it."""

    what: str
    trimtab: int
    ledger: int

    @property
    def equal(self) -> bool:
        """True when the two agree to the last unit."""
        return self.trimtab == self.ledger


class Screen:
    """The terminal, and the list of what happened."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.happened: list[Happened] = []
        self._started_s = time.monotonic()
        self._act = ""

    def at_s(self) -> float:
        """Return seconds since the demo began."""
        return time.monotonic() - self._started_s

    def announce(self, act: str, title: str, explanation: str) -> None:
        """Open an act: say what is going to happen, and why it should."""
        self._act = act
        heading = f"Act {act}: {title}" if act else title
        self.console.print(Panel(explanation, title=f"[bold]{heading}[/]", title_align="left", width=100))

    def say(self, text: str) -> None:
        """Print one line of the timeline."""
        self.console.print(f"[dim]{self.at_s():6.1f} s[/]  {text}")

    def record(self, what: str, *, evidence: str = "", took_s: float | None = None) -> None:
        """Print one line of the timeline and keep it for the closing table."""
        self.happened.append(Happened(self._act, what, self.at_s(), took_s, evidence))
        took = f" [cyan](after {took_s:.1f} s)[/]" if took_s is not None else ""
        self.say(f"[bold]{what}[/]{took}" + (f"\n          {evidence}" if evidence else ""))

    @contextmanager
    def progress(self, line: Callable[[], str]) -> Iterator[None]:
        """Keep `line()` moving at the bottom of a terminal; elsewhere show nothing."""
        if not self.console.is_terminal:
            yield
            return
        with Live(
            console=self.console, refresh_per_second=4, transient=True, get_renderable=lambda: Text(line())
        ):
            yield

    def closing_table(self) -> None:
        """Print what happened, when, and on what evidence."""
        table = Table(title="What happened", title_justify="left", width=120)
        for heading in ("act", "what", "at", "took", "evidence"):
            table.add_column(heading, justify="right" if heading in ("at", "took") else "left")
        for row in self.happened:
            took = "" if row.took_s is None else f"{row.took_s:.1f} s"
            table.add_row(row.act, row.what, f"{row.at_s:.1f} s", took, row.evidence)
        self.console.print(table)

    def count_table(self, rows: list[Compared]) -> None:
        """Print Trimtab's counts beside the ledger's."""
        table = Table(title="Trimtab's counts beside the traffic program's own ledger", title_justify="left")
        for heading in ("what", "Trimtab", "ledger", ""):
            table.add_column(heading, justify="left" if heading in ("what", "") else "right")
        for row in rows:
            mark = "[green]equal[/]" if row.equal else "[red]DIFFERENT[/]"
            table.add_row(row.what, f"{row.trimtab:,}", f"{row.ledger:,}", mark)
        self.console.print(table)

    def addresses(self, rows: dict[str, str]) -> None:
        """Print where to look."""
        table = Table(title="Where to look", title_justify="left", show_header=False)
        for name, address in rows.items():
            table.add_row(name, address)
        self.console.print(table)
