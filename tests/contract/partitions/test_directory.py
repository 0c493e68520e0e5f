"""A directory keeps the contract of places for bodies."""

import os
from pathlib import Path

import pytest

from libs.common.errors import Misconfigured, Retryable
from libs.common.partitions.bodies.directory import DirectoryBodies
from tests.contract.partitions.bodies import BodiesContract


class TestDirectoryBodies(BodiesContract):
    """All promises, and what only a disk can do wrong."""

    @pytest.fixture
    def bodies(self, tmp_path: Path) -> DirectoryBodies:
        """An empty folder."""
        return DirectoryBodies(tmp_path)

    async def test_a_folder_that_is_not_mounted(self, tmp_path: Path) -> None:
        """A folder that is missing is for a person to mend; no body in it counts as missing."""
        bodies = DirectoryBodies(tmp_path / "away")
        for call in (bodies.check(), bodies.put("one", b""), bodies.get("one"), bodies.names("")):
            with pytest.raises(Misconfigured, match="away: No such file") as error:
                await call
            assert "SNAPSHOT_URL" in error.value.next_step

    async def test_no_part_of_a_body(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A body that could not be brought to the disk is not there at all; the call may be made again."""

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        bodies = DirectoryBodies(tmp_path)
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(Retryable, match="No space left"):
            await bodies.put("one", b"state")
        assert os.listdir(tmp_path) == []

    async def test_what_a_killed_worker_left(self, tmp_path: Path) -> None:
        """The hidden half of a body is listed under its name, and goes with it."""
        bodies = DirectoryBodies(tmp_path)
        (tmp_path / ".taking-one-x7_q").write_bytes(b"st")
        assert list(await bodies.names("o")) == ["one"]
        await bodies.delete("one")
        assert os.listdir(tmp_path) == []
