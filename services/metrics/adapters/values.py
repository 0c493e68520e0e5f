"""Texts that may hold any character, in PostgreSQL, which takes all but NUL."""

import re

_ESCAPED = re.compile(r"\\(.)")


def to_column(text: str) -> str:
    """Return what stands for `text` in a column: itself, with every backslash doubled and NUL as a backslash
    and 0. Different texts stay different."""
    return text.replace("\\", "\\\\").replace("\0", "\\0")


def from_column(column: str) -> str:
    """Return the text that `to_column` was given."""
    return _ESCAPED.sub(lambda found: "\0" if found[1] == "0" else found[1], column)
