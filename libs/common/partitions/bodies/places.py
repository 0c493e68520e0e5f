"""From a URL to a place for bodies: a literal table of what there is."""

import re
from pathlib import Path

from libs.common.clock import Clock
from libs.common.errors import Misconfigured
from libs.common.partitions.bodies.directory import DirectoryBodies
from libs.common.partitions.bodies.ports import SnapshotBodies
from libs.common.partitions.bodies.s3 import S3Bodies
from libs.common.retry import retry

IN_TABLE = "postgres"
"""The URL that means: in the catalogue's own table."""
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[\w.=-]+)*)/?")
_FILE = re.compile(r"file://(?P<folder>(/[^/?#\0]+)+)/?")


def bodies_at(url: str) -> SnapshotBodies | None:
    """Return the place that `url` names; None for `postgres`. Raises Misconfigured for what is no such
    URL."""
    if url == IN_TABLE:
        return None
    if match := _FILE.fullmatch(url):
        return DirectoryBodies(Path(match["folder"]))
    if match := _S3.fullmatch(url):
        return S3Bodies(match["bucket"], match["prefix"].strip("/"))
    raise Misconfigured(
        f"SNAPSHOT_URL: {url!r} names no place for snapshots",
        next_step="set SNAPSHOT_URL to postgres, file:///absolute/folder or s3://bucket/prefix",
    )


async def open_bodies(url: str, *, clock: Clock, deadline_ms: int) -> SnapshotBodies | None:
    """Return the place that `url` names once one can write there; None for `postgres`. Raises Misconfigured
    when that is for a person to mend, Retryable when it does not answer for `deadline_ms`."""
    bodies = bodies_at(url)
    if bodies is not None:
        await retry(bodies.check, clock=clock, deadline_ms=deadline_ms, what=f"reaching {bodies.url}")
    return bodies
