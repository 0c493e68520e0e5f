"""Bodies as files in one folder, which all workers must see."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from libs.common.errors import Misconfigured, Retryable
from libs.common.partitions.bodies.ports import missing

_HIDDEN = ".taking-"


class DirectoryBodies:
    """Keeps the promises of `ports.SnapshotBodies`.

    The folder must exist: one that is missing is a disk that is not mounted, and its snapshots are not lost.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        """`file:///folder`."""
        return f"file://{self._folder}"

    async def check(self) -> None:
        """Return when one can write here."""
        name = f"check-{secrets.token_hex(8)}"
        await self.put(name, b"")
        await self.delete(name)

    async def put(self, name: str, body: bytes) -> None:
        """Write under a hidden name, bring it to the disk, then give it its name."""
        await asyncio.to_thread(self._put, name, body)

    async def get(self, name: str) -> bytes:
        """Read the file."""
        return await asyncio.to_thread(self._get, name)

    async def delete(self, name: str) -> None:
        """Remove the file."""
        await asyncio.to_thread(self._delete, name)

    async def names(self, prefix: str) -> Sequence[str]:
        """Return the names of the files that are whole."""
        return await asyncio.to_thread(self._names, prefix)

    def _put(self, name: str, body: bytes) -> None:
        with self._trouble():
            handle, hidden = tempfile.mkstemp(prefix=f"{_HIDDEN}{name}-", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(hidden, self._folder / name)
            except BaseException:
                Path(hidden).unlink(missing_ok=True)
                raise
            self._sync_folder()

    def _get(self, name: str) -> bytes:
        with self._trouble():
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError as error:
                if not self._folder.is_dir():
                    raise
                raise missing(f"{self.url}/{name}") from error

    def _delete(self, name: str) -> None:
        with self._trouble():
            (self._folder / name).unlink(missing_ok=True)
            # Whoever was killed while it wrote has left a hidden file.
            for half in self._folder.glob(f"{_HIDDEN}{name}-*"):
                half.unlink(missing_ok=True)

    def _names(self, prefix: str) -> list[str]:
        with self._trouble():
            found = set()
            for each in os.listdir(self._folder):
                whole = each.removeprefix(_HIDDEN)
                name = whole if whole == each else whole.rpartition("-")[0]
                if name.startswith(prefix):
                    found.add(name)
            return sorted(found)

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise Misconfigured(
                f"snapshots cannot be kept in {self._folder}: {error.strerror}",
                next_step="make the folder (or mount it) and let this process write there, or correct "
                "SNAPSHOT_URL",
            ) from error
        except OSError as error:
            raise Retryable(f"snapshots in {self._folder}: {error.strerror}") from error
