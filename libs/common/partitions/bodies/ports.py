"""What a place for bodies promises; one contract suite holds every kind to it."""

from collections.abc import Sequence
from typing import Protocol

from libs.common.errors import NotFound


class SnapshotBodies(Protocol):
    """Bodies by name. A name is a plain word of letters, digits, `.`, `_` and `-`, and is used for one body
    only, ever. All calls raise Retryable when the place does not answer, and Misconfigured when it is not
    there at all or refuses us: nothing that lies there counts as lost then."""

    @property
    def url(self) -> str:
        """The place, without a slash at its end and without a secret; `url/name` is where a body lies."""

    async def check(self) -> None:
        """Return when one can read and write here."""

    async def put(self, name: str, body: bytes) -> None:
        """Keep a body. It is there as a whole and for good when this returns, and in part never."""

    async def get(self, name: str) -> bytes:
        """Return a body. Raises NotFound when there is none of this name: what was put and is not there may
        come back, as after a disk was not mounted."""

    async def delete(self, name: str) -> None:
        """Remove a body, if it is there."""

    async def names(self, prefix: str) -> Sequence[str]:
        """Return the names that begin with `prefix`, in order."""


def missing(location: str) -> NotFound:
    """Return the error for a body that is not there."""
    return NotFound(
        f"the body {location} is missing",
        next_step="bring it back (is the disk mounted, is it the right bucket?) and start this worker again; "
        "else more of the log is read",
    )
