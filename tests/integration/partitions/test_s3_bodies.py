"""A bucket keeps the contract of places for bodies."""

import socket

import pytest

from libs.common.errors import Misconfigured, Retryable
from libs.common.partitions.bodies import s3
from libs.common.partitions.bodies.s3 import S3Bodies
from tests.contract.partitions.bodies import BodiesContract


class TestS3Bodies(BodiesContract):
    """All promises, and what only a bucket can do wrong."""

    @pytest.fixture
    def bodies(self, s3_bucket: str) -> S3Bodies:
        """An empty bucket."""
        return S3Bodies(s3_bucket, "trimtab/snapshots")

    async def test_no_such_bucket(self, s3_bucket: str) -> None:
        """A bucket that is missing is for a person to mend; no body in it counts as missing."""
        bodies = S3Bodies(f"{s3_bucket}-2", "")
        for call in (bodies.check(), bodies.put("one", b""), bodies.get("one")):
            with pytest.raises(Misconfigured, match="no such bucket") as error:
                await call
            assert "AWS_ENDPOINT_URL" in error.value.next_step

    async def test_nobody_answers(self, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that is away is waited for."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
            monkeypatch.setattr(s3, "ATTEMPTS", 1)
            with pytest.raises(Retryable, match=f"snapshots in s3://{s3_bucket}"):
                await S3Bodies(s3_bucket, "").get("one")

    async def test_a_prefix_keeps_apart(self, s3_bucket: str) -> None:
        """Two prefixes of one bucket know nothing of each other."""
        one, two, none = S3Bodies(s3_bucket, "one"), S3Bodies(s3_bucket, "one2"), S3Bodies(s3_bucket, "")
        for bodies in (one, two, none):
            await bodies.put("body", bodies.url.encode())
        assert [await bodies.get("body") for bodies in (one, two, none)] == [
            bodies.url.encode() for bodies in (one, two, none)
        ]
        assert list(await one.names("")) == ["body"]
