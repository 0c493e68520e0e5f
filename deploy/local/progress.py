"""What a person sees while the stack starts: the first download, and a line for each part that is ready."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from deploy.local import kafka
from deploy.local.homes import Home
from deploy.local.jars import Progress
from deploy.local.state import PartRecord


def fetch(home: Home, environment: Mapping[str, str], console: Console) -> None:
    """Fetches Kafka's jars if the embedded Kafka is wanted and they are not there, with a bar."""
    if not environment.get(kafka.VARIABLE):
        with _download_bar(console) as progress:
            kafka.class_path(home, environment, progress)


@contextmanager
def _download_bar(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=console) as bar:
        shown: list[object] = []

        def progress(done: int, total: int) -> None:
            if not shown:
                shown.append(bar.add_task("Apache Kafka, the first time", total=total))
            bar.update(bar.task_ids[0], completed=done, total=total)

        yield progress


class Announcer:
    """Says once for each part that it is ready, and whenever one is started again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[tuple[str, str, int]] = set()

    def tell(self, parts: Iterable[PartRecord]) -> None:
        """Shows what is new in this record."""
        for part in parts:
            # A part that dies again and again before it is ready is told of once.
            key = (part.name, part.state, part.starts if part.state == "ready" else 0)
            if part.state not in ("ready", "external", "restarting") or key in self._said:
                continue
            self._said.add(key)
            after = f" after {part.ready_after_s:.1f} s" if part.ready_after_s is not None else ""
            if part.state == "restarting":
                self._console.print(f"  [yellow]{part.name}[/] died and is started again")
            elif part.starts <= 1:
                self._console.print(
                    f"  [green]{part.name:<15}[/] ready{after}  {part.address}", highlight=False
                )
            else:
                self._console.print(f"  [green]{part.name:<15}[/] ready again", highlight=False)
