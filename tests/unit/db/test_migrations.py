"""A folder of migrations is read completely or refused by name."""

from pathlib import Path

import pytest

from libs.common.db.migrate import read_migrations
from libs.common.db.pool import check_schema
from libs.common.errors import Misconfigured


def write(folder: Path, **files: str) -> None:
    for name, sql in files.items():
        (folder / f"{name.removeprefix('_')}.sql").write_text(sql)


def test_in_order(tmp_path: Path) -> None:
    """Files are read in the order of their numbers."""
    write(tmp_path, _0002_more="SELECT 2;", _0001_first="SELECT 1;")
    assert [(each.number, each.name) for each in read_migrations(tmp_path)] == [
        (1, "0001_first.sql"),
        (2, "0002_more.sql"),
    ]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "holds no migration"),
        ({"_0001_first": "", "_0003_third": ""}, r"0003_third.sql: number 0002 was expected"),
        ({"_0002_second": ""}, r"0002_second.sql: number 0001 was expected"),
        ({"_0001_first": "", "_0001_twice": ""}, r"0001_twice.sql: number 0002 was expected"),
        ({"_0001_first": "", "_second": ""}, r"second.sql: not a migration's name"),
        ({"_0001_first": "-- include: inbox"}, r"0001_first.sql: nothing is called 'inbox'"),
    ],
)
def test_refused(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    """A gap, a number used twice, a strange name or include is refused, and the file named."""
    write(tmp_path, **files)
    with pytest.raises(Misconfigured, match=problem):
        read_migrations(tmp_path)


def test_includes(tmp_path: Path) -> None:
    """An include is replaced by the tables, and the checksum covers them."""
    write(tmp_path, _0001_first="-- include: outbox\n-- include: partitions\nSELECT 1;")
    (with_tables,) = read_migrations(tmp_path)
    for table in ("outbox", "partition_leases", "partition_snapshots"):
        assert f"CREATE TABLE {table}" in with_tables.sql
    write(tmp_path, _0001_first="-- include: outbox\nSELECT 1;")
    assert read_migrations(tmp_path)[0].checksum != with_tables.checksum


@pytest.mark.parametrize("schema", ["", "Metrics", "a-b", 'a"; DROP', "1st", "a" * 41])
def test_strange_schemas(schema: str) -> None:
    """A schema's name is plain or refused: it goes into statements as it is."""
    with pytest.raises(Misconfigured, match="cannot name a schema"):
        check_schema(schema)
