"""The pinned list of Kafka's jars."""

import pytest

from deploy.local.jars import Jar, pinned

LINE = f"org.apache.kafka:kafka-clients:4.3.1 {'ab' * 32} 12"


def test_reads_coordinates_digest_and_size() -> None:
    """Comments and empty lines are no jars."""
    assert pinned(f"# a comment\n\n{LINE}\n") == [
        Jar("org.apache.kafka", "kafka-clients", "4.3.1", "ab" * 32, 12)
    ]


@pytest.mark.parametrize(
    "line", ["a:b:c", "a:b " + "ab" * 32 + " 1", "a:b:c abc 1", "a:b:c " + "ab" * 32 + " x"]
)
def test_refuses_a_line_that_is_not_complete(line: str) -> None:
    """A jar without a full SHA-256 would go unchecked."""
    with pytest.raises(ValueError, match=r"not|invalid"):
        pinned(line)


def test_the_file_is_named_after_artifact_and_version() -> None:
    """Two versions of a jar never share a file of the cache."""
    assert pinned(LINE)[0].file_name == "kafka-clients-4.3.1.jar"
