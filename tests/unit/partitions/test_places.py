"""From URLs to places, and what bodies are called."""

import pytest

from libs.common.errors import Misconfigured
from libs.common.partitions.bodies.names import BodyNames, epoch_of
from libs.common.partitions.bodies.places import bodies_at


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("file:///var/lib/trimtab", "file:///var/lib/trimtab"),
        ("file:///with space/", "file:///with space"),
        ("s3://bucket", "s3://bucket"),
        ("s3://my.bucket-1/some/prefix/", "s3://my.bucket-1/some/prefix"),
    ],
)
def test_places(url: str, place: str) -> None:
    """A URL is understood, with or without a slash at its end."""
    bodies = bodies_at(url)
    assert bodies is not None
    assert bodies.url == place


def test_in_the_table() -> None:
    """`postgres` is no place outside."""
    assert bodies_at("postgres") is None


@pytest.mark.parametrize(
    "url",
    ["", "Postgres", "/var/lib", "file://var/lib", "file:///", "file://", "s3://", "s3:///prefix", "s3://b",
     "s3://Bucket/x", "s3://key:secret@bucket", "s3://bucket//x", "s3://bucket/x?y", "https://bucket/x"],
)  # fmt: skip
def test_no_place(url: str) -> None:
    """What is no place is refused with what would be one."""
    with pytest.raises(Misconfigured, match="names no place") as error:
        bodies_at(url)
    assert "s3://bucket/prefix" in error.value.next_step


def test_names_keep_owners_apart() -> None:
    """Names differ by schema, database, partition, epoch and number, and no prefix holds another's names."""
    base = BodyNames("metrics", "c1", 1)
    others = [BodyNames("drift", "c1", 1), BodyNames("metrics", "c2", 1), BodyNames("metrics", "c1", 11)]
    names = {base.name(1, 1), base.name(1, 2), base.name(2, 1), *(each.name(1, 1) for each in others)}
    assert len(names) == 6
    assert not any(each.name(1, 1).startswith(base.prefix) for each in others)
    assert epoch_of(base.name(12, 345)) == 12
    assert epoch_of("check-0011") is None
