"""A stored snapshot is what was sealed, or it is refused."""

import hashlib
import json
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Misconfigured, Poison, Refused
from libs.common.partitions import snapshots
from libs.common.partitions.snapshots import Snapshot, seal, unseal


@given(
    st.lists(st.binary(max_size=500), max_size=6),
    st.dictionaries(st.text(max_size=9), st.integers(0, 2**60), max_size=4),
)
def test_round_trip(chunks: list[bytes], offsets: dict[str, int]) -> None:
    """What was sealed comes back, cut where it was cut."""
    assert list(unseal(seal(3, offsets, chunks))) == chunks


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=3), st.data())
def test_any_flipped_bit_is_found(chunks: list[bytes], data: st.DataObject) -> None:
    """One bit that changed anywhere in the body makes it poison, before the first chunk is handed out."""
    sealed = seal(0, {"exposures": 1}, chunks)
    bit = data.draw(st.integers(0, 8 * len(sealed.body) - 1))
    body = bytearray(sealed.body)
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Poison):
        unseal(replace(sealed, body=bytes(body)))


def test_the_checksum_covers_the_offsets_and_the_partition() -> None:
    """A good body at wrong offsets, or of another partition, would count wrongly: it is poison."""
    sealed = seal(0, {"exposures": 1}, [b"state"])
    for wrong in (replace(sealed, offsets={"exposures": 2}), replace(sealed, partition=1)):
        with pytest.raises(Poison, match="checksum"):
            unseal(wrong)


def test_the_format_before() -> None:
    """A snapshot of the first format, one frame without a length, is read as one chunk."""
    body = zstandard.ZstdCompressor().compress(b"state")
    header = json.dumps([1, 4, [["exposures", 7]]]).encode()
    checksum = hashlib.sha256(len(header).to_bytes(4, "big") + header + body).digest()
    assert list(unseal(Snapshot(4, {"exposures": 7}, 1, checksum, body))) == [b"state"]


def test_a_newer_format() -> None:
    """A snapshot of a newer program is no poison: a person must run that program."""
    with pytest.raises(Misconfigured, match="format 3"):
        unseal(replace(seal(0, {}, []), format=3))


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot above the limit is refused with what to do."""
    monkeypatch.setattr(snapshots, "MAX_BODY_BYTES", 10)
    with pytest.raises(Refused, match="more than 10") as error:
        seal(0, {}, [bytes(range(256))])
    assert "partitions" in error.value.next_step
