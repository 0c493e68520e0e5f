"""The source tree as the rules see it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("schemas", "libs", "services", "deploy")


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its path from the root, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's parts."""
        return tuple(self.path.split("/"))

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield line and dotted name of everything that is imported."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield node.lineno, node.module
                for alias in node.names:
                    yield node.lineno, f"{node.module}.{alias.name}"


@cache
def sources() -> tuple[Source, ...]:
    """Return every Python file of the product."""
    found = []
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            text = file.read_text(encoding="utf-8")
            found.append(Source(path, text, ast.parse(text, path)))
    return tuple(found)


def in_room(source: Source, *rooms: str) -> bool:
    """Return True when the file lies in one of these rooms of a service."""
    return source.parts[0] == "services" and len(source.parts) > 3 and source.parts[2] in rooms
