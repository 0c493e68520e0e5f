"""A stored snapshot is what was sealed, or it is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Misconfigured, Poison, Refused
from libs.common.partitions import snapshots
from libs.common.partitions.snapshots import seal, unseal


@given(st.binary(max_size=2_000), st.dictionaries(st.text(max_size=9), st.integers(0, 2**60), max_size=4))
def test_round_trip(dump: bytes, offsets: dict[str, int]) -> None:
    """What was sealed comes back."""
    assert unseal(seal(3, offsets, dump)) == dump


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_is_found(dump: bytes, data: st.DataObject) -> None:
    """One bit that changed anywhere in the body makes it poison."""
    sealed = seal(0, {"exposures": 1}, dump)
    bit = data.draw(st.integers(0, 8 * len(sealed.body) - 1))
    body = bytearray(sealed.body)
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Poison):
        unseal(replace(sealed, body=bytes(body)))


def test_the_checksum_covers_the_offsets_and_the_partition() -> None:
    """A good body at wrong offsets, or of another partition, would count wrongly: it is poison."""
    sealed = seal(0, {"exposures": 1}, b"state")
    for wrong in (replace(sealed, offsets={"exposures": 2}), replace(sealed, partition=1)):
        with pytest.raises(Poison, match="checksum"):
            unseal(wrong)


def test_a_newer_format() -> None:
    """A snapshot of a newer program is no poison: a person must run that program."""
    with pytest.raises(Misconfigured, match="format 2"):
        unseal(replace(seal(0, {}, b""), format=2))


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot above the limit is refused with what to do."""
    monkeypatch.setattr(snapshots, "MAX_BODY_BYTES", 10)
    with pytest.raises(Refused, match="more than 10") as error:
        seal(0, {}, bytes(range(256)))
    assert "partitions" in error.value.next_step
