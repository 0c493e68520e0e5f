"""Bodies as objects of an S3-compatible bucket.

Endpoint, region and credentials come from the environment as every AWS client reads them: AWS_ENDPOINT_URL,
AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or the machine's own role.
"""

import asyncio
import importlib
import secrets
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol, TypeVar

from libs.common.errors import Misconfigured, Retryable
from libs.common.partitions.bodies.ports import missing

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 3

_T = TypeVar("_T")


class _FileSystem(Protocol):
    """What we use of s3fs, which ships no types."""

    def pipe_file(self, path: str, value: bytes) -> None: ...
    def cat_file(self, path: str) -> bytes: ...
    def rm_file(self, path: str) -> None: ...
    def find(self, path: str, *, prefix: str) -> list[str]: ...
    def exists(self, path: str) -> bool: ...


class S3Bodies:
    """Keeps the promises of `ports.SnapshotBodies`. All calls to the bucket are made in a thread."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._base = f"{bucket}/{prefix}" if prefix else bucket

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._base}"

    async def check(self) -> None:
        """Return when one can write here."""
        name = f"check-{secrets.token_hex(8)}"
        await self.put(name, b"")
        await self.delete(name)

    async def put(self, name: str, body: bytes) -> None:
        """Write an object; S3 shows it when it is whole."""
        await self._ask(lambda: self._files.pipe_file(self._path(name), body))

    async def get(self, name: str) -> bytes:
        """Read an object."""
        try:
            return await self._ask(lambda: self._files.cat_file(self._path(name)))
        except FileNotFoundError as error:
            raise missing(f"{self.url}/{name}") from error

    async def delete(self, name: str) -> None:
        """Remove an object."""
        try:
            await self._ask(lambda: self._files.rm_file(self._path(name)))
        except FileNotFoundError:
            return

    async def names(self, prefix: str) -> Sequence[str]:
        """Return the names of the objects."""
        try:
            paths = await self._ask(lambda: self._files.find(self._base, prefix=prefix))
        except FileNotFoundError:
            return []
        return sorted(path.removeprefix(f"{self._base}/") for path in paths)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    @cached_property
    def _files(self) -> _FileSystem:
        try:
            module = importlib.import_module("s3fs")
        except ImportError as error:
            raise Misconfigured(
                "snapshots in S3 need the package s3fs",
                next_step="install trimtab-platform[s3], or set SNAPSHOT_URL to postgres or file:///folder",
            ) from error
        files: _FileSystem = module.S3FileSystem(
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "retries": {"max_attempts": ATTEMPTS},
            },
        )
        return files

    async def _ask(self, call: Callable[[], _T]) -> _T:
        """Return what the call returns. Raises FileNotFoundError when the object is not there, though the
        bucket is."""
        return await asyncio.to_thread(self._asked, call)

    def _asked(self, call: Callable[[], _T]) -> _T:
        files = self._files
        botocore = importlib.import_module("botocore.exceptions")
        try:
            try:
                return call()
            except FileNotFoundError:
                if not files.exists(self._bucket):
                    raise self._refused("there is no such bucket") from None
                raise
        except FileNotFoundError:
            raise
        except (PermissionError, botocore.NoCredentialsError, botocore.PartialCredentialsError) as error:
            raise self._refused(str(error)) from error
        except (botocore.ParamValidationError, botocore.NoRegionError) as error:
            raise self._refused(str(error)) from error
        except (OSError, botocore.BotoCoreError) as error:
            raise Retryable(f"snapshots in {self.url}: {error}") from error

    def _refused(self, problem: str) -> Misconfigured:
        return Misconfigured(
            f"snapshots cannot be kept in {self.url}: {problem}",
            next_step="make the bucket and let this process list, read, write and delete there "
            "(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or correct SNAPSHOT_URL",
        )
