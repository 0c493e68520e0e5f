"""What every place for bodies promises; run for each kind by a class that gives a fixture `bodies`."""

import asyncio
import random

import pytest

from libs.common.errors import NotFound
from libs.common.partitions.bodies.places import bodies_at
from libs.common.partitions.bodies.ports import SnapshotBodies


class BodiesContract:
    """The promises of `bodies.ports.SnapshotBodies`. Subclasses give a fixture `bodies`, an empty place."""

    async def test_what_was_put_comes_back(self, bodies: SnapshotBodies) -> None:
        """Bodies of any size come back byte for byte."""
        for name, body in {
            "none": b"",
            "some": b"\0\n",
            "much": random.Random(7).randbytes(9_000_000),
        }.items():
            await bodies.put(name, body)
            assert await bodies.get(name) == body

    async def test_the_url_leads_there(self, bodies: SnapshotBodies) -> None:
        """Who has the URL finds the bodies."""
        await bodies.put("a-body.snapshot", b"state")
        again = bodies_at(bodies.url)
        assert again is not None
        assert again.url == bodies.url
        assert await again.get("a-body.snapshot") == b"state"

    async def test_names(self, bodies: SnapshotBodies) -> None:
        """Names are found by what they begin with, and a body is found as soon as it is there."""
        assert list(await bodies.names("p1-")) == []
        for name in ("p1-b", "p1-a", "p11-a", "q"):
            await bodies.put(name, b"state")
        assert list(await bodies.names("p1-")) == ["p1-a", "p1-b"]
        await bodies.delete("p1-a")
        assert list(await bodies.names("p1-")) == ["p1-b"]

    async def test_a_missing_body(self, bodies: SnapshotBodies) -> None:
        """A body that is not there, in a place that is, is not found, which is not the same as broken: the
        place may be an empty mount point. The error says what to look at; removing it is no error."""
        await bodies.put("one", b"state")
        await bodies.delete("one")
        await bodies.delete("one")
        with pytest.raises(NotFound, match="one is missing") as error:
            await bodies.get("one")
        assert "bring it back" in error.value.next_step

    async def test_many_together(self, bodies: SnapshotBodies) -> None:
        """Calls may be made side by side."""
        await asyncio.gather(*(bodies.put(f"body-{number}", b"%d" % number) for number in range(9)))
        found = await asyncio.gather(*(bodies.get(f"body-{number}") for number in range(9)))
        assert found == [b"%d" % number for number in range(9)]

    async def test_check(self, bodies: SnapshotBodies) -> None:
        """A place that one can write to is fine, and the check leaves nothing behind."""
        await bodies.check()
        assert list(await bodies.names("")) == []
