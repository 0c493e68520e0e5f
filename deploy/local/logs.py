"""What the parts print: a file each, and all together behind the part's name. The files stay small."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PART_LIMIT_BYTES, PART_KEEP = 5_000_000, 2
ALL_LIMIT_BYTES, ALL_KEEP = 10_000_000, 1
LINE_LIMIT_BYTES = 32_768
NAME_WIDTH = 14


def prefixed(name: str, line: str) -> str:
    """The line as the combined stream shows it."""
    return f"{name:<{NAME_WIDTH}} | {line}"


@dataclass
class LineSplitter:
    """Cuts a stream of bytes into lines of at most `limit` bytes; undecodable bytes become a mark."""

    limit: int = LINE_LIMIT_BYTES
    _rest: bytes = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that are complete now."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > self.limit:
            lines.append(self._rest[: self.limit])
            self._rest = self._rest[self.limit :]
        return [self._decode(line) for line in lines]

    def flush(self) -> list[str]:
        """What is left when the stream ends without a newline."""
        rest, self._rest = self._rest, b""
        return [self._decode(rest)] if rest else []

    def _decode(self, line: bytes) -> str:
        return line[: self.limit].rstrip(b"\r").decode("utf-8", errors="replace")


@dataclass
class RotatingFile:
    """Appends lines to a file; at `limit_bytes` it becomes `<name>.1`, and the oldest of `keep` goes."""

    path: Path
    limit_bytes: int
    keep: int
    _size: int = -1

    def write(self, line: str) -> None:
        """Appends one line. A full disk loses the line, never the part that printed it."""
        try:
            self._append((line + "\n").encode())
        except OSError:
            self._size = -1

    def _append(self, data: bytes) -> None:
        if self._size < 0:
            self._size = self.path.stat().st_size if self.path.exists() else 0
        if self._size and self._size + len(data) > self.limit_bytes:
            self._rotate()
        with self.path.open("ab") as file:
            file.write(data)
        self._size += len(data)

    def _rotate(self) -> None:
        for number in range(self.keep - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            if older.exists():
                older.replace(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        self._size = 0


@dataclass
class StackLogs:
    """The log files of one stack in one folder."""

    folder: Path
    echo: Callable[[str], None] | None = None
    _files: dict[str, RotatingFile] = field(default_factory=dict)

    def write(self, name: str, line: str) -> None:
        """One line of the part `name`, into its own file and into `all.log`."""
        self._file(name, PART_LIMIT_BYTES, PART_KEEP).write(line)
        shown = prefixed(name, line)
        self._file("all", ALL_LIMIT_BYTES, ALL_KEEP).write(shown)
        if self.echo is not None:
            self.echo(shown)

    def tail(self, name: str, lines: int = 20) -> list[str]:
        """The last lines a part printed; empty when it printed nothing."""
        path = self.folder / f"{name}.log"
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - lines * 512))
            return file.read().decode("utf-8", errors="replace").splitlines()[-lines:]

    def _file(self, name: str, limit_bytes: int, keep: int) -> RotatingFile:
        if name not in self._files:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._files[name] = RotatingFile(self.folder / f"{name}.log", limit_bytes, keep)
        return self._files[name]
