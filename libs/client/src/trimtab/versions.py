"""Versions, compared as GrowthBook does: each number padded to five places, a release after its previews."""

import re
from typing import Any, Final

from trimtab.comparisons import Compare, Test

MAX_VERSION_CHARS: Final = 256
"""What is longer is no version."""

_BUILD = re.compile(r"^v|\+.*$")
_PARTS = re.compile(r"[-.]")


def padded(text: str) -> str:
    """Return a version in a form that sorts: `v1.20.3-rc.1+build` becomes `    1-   20-    3-rc-    1`."""
    parts = _PARTS.split(_BUILD.sub("", text or "0"))
    if len(parts) == 3:
        parts.append("~")  # a release sorts after its previews: `~` is ASCII's last
    return "-".join(part.rjust(5) if part.isascii() and part.isdigit() else part for part in parts)


def version(compare: Compare, wanted: Any) -> Test:
    """Return the test for a version that compares so with `wanted`; what is no string is no version.

    Raises ValueError when `wanted` is no string: 1.10 as a number would be 1.1.
    """
    if not isinstance(wanted, str) or len(wanted) > MAX_VERSION_CHARS:
        raise ValueError(f"needs a version in quotes, not {wanted!r:.50}")
    limit = padded(wanted)
    return lambda value: (
        isinstance(value, str) and len(value) <= MAX_VERSION_CHARS and compare(padded(value), limit)
    )
