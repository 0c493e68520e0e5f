"""What the embedded stack keeps in files: jars, logs, its record."""

import hashlib
from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.homes import open_home, trimtab_home
from deploy.local.jars import LIST, Jar, checked, missing, pinned
from deploy.local.kafka import class_path
from deploy.local.logs import RotatingFile, StackLogs
from deploy.local.state import StackRecord, read_record, write_record

CONTENT = b"a jar"
JAR = Jar("g", "a", "1", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def test_the_committed_list_holds_kafka_and_all_it_needs() -> None:
    """46 jars, no name twice, one version of Kafka."""
    jars = pinned(LIST.read_text())
    assert len({jar.file_name for jar in jars}) == len(jars) == 46
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.3.1"}


def test_a_jar_that_is_not_the_one_we_know_is_deleted_and_refused(tmp_path: Path) -> None:
    """The error shows both digests; the file is gone, so that nothing can pick it up."""
    path = tmp_path / JAR.file_name
    path.write_bytes(b"another")
    with pytest.raises(StackError, match=JAR.sha256):
        checked(JAR, path)
    assert not path.exists()


def test_a_damaged_jar_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    """Half a file from an interrupted copy counts as absent; a whole one is kept."""
    path = tmp_path / JAR.file_name
    assert missing([JAR], tmp_path) == [JAR]
    path.write_bytes(CONTENT)
    assert missing([JAR], tmp_path) == []
    path.write_bytes(CONTENT[:2])
    assert missing([JAR], tmp_path) == [JAR]
    assert not path.exists()


def test_a_named_folder_without_kafka_is_refused(tmp_path: Path) -> None:
    """KAFKA_JARS that names the wrong folder gives a message, not a Java stack trace."""
    with pytest.raises(StackError, match="no kafka_2"):
        class_path(open_home(tmp_path), {"KAFKA_JARS": str(tmp_path)}, None)


def test_logs_stay_small(tmp_path: Path) -> None:
    """A file that has reached its limit becomes .1, the one before .2, and the oldest goes."""
    file = RotatingFile(tmp_path / "part.log", limit_bytes=30, keep=2)
    for number in range(40):
        file.write(f"line {number:03}")
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["part.log", "part.log.1", "part.log.2"]
    assert all(path.stat().st_size <= 30 for path in tmp_path.iterdir())
    assert (tmp_path / "part.log").read_text().endswith("line 039\n")


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    """Enough to see why a part died, and nothing when it said nothing."""
    logs = StackLogs(tmp_path)
    for number in range(50):
        logs.write("kafka", f"{number}")
    assert logs.tail("kafka", 2) == ["48", "49"]
    assert logs.tail("postgres") == []


def test_the_record_is_for_its_user_alone(tmp_path: Path) -> None:
    """It holds the database's password."""
    path = tmp_path / "state.json"
    write_record(path, StackRecord("ready", 1, "mark"))
    assert path.stat().st_mode & 0o077 == 0
    assert read_record(path) == StackRecord("ready", 1, "mark")
    assert read_record(tmp_path / "absent.json") is None


def test_the_folder_can_be_named(tmp_path: Path) -> None:
    """TRIMTAB_HOME wins over the checkout; a file in its place is refused in words."""
    assert trimtab_home({"TRIMTAB_HOME": str(tmp_path)}) == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="TRIMTAB_HOME="):
        open_home(tmp_path / "file" / "home")
