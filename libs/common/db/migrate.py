"""Numbered SQL migrations, once each, however many processes start together.

A folder holds `0001_name.sql`, `0002_name.sql`, ... without a gap. A line `-- include: outbox` (or
`partitions`, and `partitions_v2` after it) is replaced by the tables that `outbox.py` (or
`libs/common/partitions`) needs. A migration that was applied never changes again: the next one does.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import asyncpg

from libs.common.db.pool import Connection, Pool, check_schema, outages
from libs.common.errors import Misconfigured

log = logging.getLogger(__name__)

LOCK_TIMEOUT_MS = 120_000
MIGRATION_TIMEOUT_MS = 600_000

_COMMON = Path(__file__).parents[1]
_INCLUDES: Mapping[str, Path] = MappingProxyType(
    {
        "outbox": _COMMON / "db" / "sql" / "outbox.sql",
        "partitions": _COMMON / "partitions" / "sql" / "partitions.sql",
        "partitions_v2": _COMMON / "partitions" / "sql" / "partitions_v2.sql",
    }
)
_REFUSED = (asyncpg.SyntaxOrAccessError, asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_INCLUDE = re.compile(r"^--\s*include:\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, with what it includes. The checksum covers both."""

    number: int
    name: str
    sql: str
    checksum: str


async def migrate(pool: Pool, schema: str, folder: Path) -> None:
    """Create `schema` if it is missing and apply what `folder` holds and the database does not have yet.

    Each migration is one transaction together with its row in `<schema>.migrations`. Others wait their turn.
    Raises Misconfigured, naming the file, for a gap, a file that changed after it was applied, a database
    newer than the folder, and a statement that PostgreSQL refuses; Retryable when the database does not
    answer.
    """
    check_schema(schema)
    migrations = read_migrations(folder)
    with outages(f"migrating {schema}"):
        async with pool.acquire() as connection:
            # The pool gives the lock back when it takes the connection back, whatever happens.
            await connection.execute(
                "SELECT pg_advisory_lock(hashtextextended($1, 0))",
                f"{schema}/migrate",
                timeout=LOCK_TIMEOUT_MS / 1_000,
            )
            for migration in await _missing(connection, schema, migrations):
                await _apply(connection, schema, migration)
                log.info("migrated %s: %s", schema, migration.name)


def read_migrations(folder: Path) -> list[Migration]:
    """Return the migrations of a folder in order. Raises Misconfigured for a gap, a number used twice, a name
    or an include that is not understood, and for an empty folder."""
    files = sorted(folder.glob("*.sql"))
    if not files:
        raise Misconfigured(f"{folder} holds no migration", next_step="add 0001_<name>.sql")
    migrations = []
    for number, file in enumerate(files, start=1):
        match = _FILE.fullmatch(file.name)
        if match is None:
            raise Misconfigured(f"{file}: not a migration's name", next_step="call it 0001_<name>.sql")
        if int(match[1]) != number:
            raise Misconfigured(
                f"{file}: number {number:04d} was expected here",
                next_step="number the migrations from 0001, without a gap or a number used twice",
            )
        migrations.append(_read(number, file))
    return migrations


def _read(number: int, file: Path) -> Migration:
    def include(match: re.Match[str]) -> str:
        if match[1] not in _INCLUDES:
            raise Misconfigured(f"{file}: nothing is called {match[1]!r}", next_step=f"include {known}")
        return _INCLUDES[match[1]].read_text(encoding="utf-8")

    known = " or ".join(_INCLUDES)
    sql = _INCLUDE.sub(include, file.read_text(encoding="utf-8"))
    return Migration(number, file.name, sql, hashlib.sha256(sql.encode()).hexdigest())


async def _missing(
    connection: Connection, schema: str, migrations: Sequence[Migration]
) -> Sequence[Migration]:
    # Not IF NOT EXISTS: that needs the right to create schemas even where somebody has created this one.
    if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    await connection.execute(
        f'CREATE TABLE IF NOT EXISTS "{schema}".migrations (number integer PRIMARY KEY, name text NOT NULL,'
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = await connection.fetch(
        f'SELECT number, name, checksum FROM "{schema}".migrations ORDER BY number'  # noqa: S608
    )
    if len(rows) > len(migrations):
        raise Misconfigured(
            f"schema {schema} has {rows[len(migrations)]['name']}, which this program does not know",
            next_step="run the newer program, or restore a backup from before it",
        )
    for row, migration in zip(rows, migrations, strict=False):
        if (row["name"], row["checksum"]) != (migration.name, migration.checksum):
            raise Misconfigured(
                f"{migration.name} (or what it includes) differs from {row['name']} as applied to {schema}",
                next_step="put the file back as it was and make the change in a new migration",
            )
    return migrations[len(rows) :]


async def _apply(connection: Connection, schema: str, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f'SET LOCAL search_path = "{schema}"')
            await connection.execute(migration.sql, timeout=MIGRATION_TIMEOUT_MS / 1_000)
            await connection.execute(
                f'INSERT INTO "{schema}".migrations VALUES ($1, $2, $3)',  # noqa: S608
                migration.number,
                migration.name,
                migration.checksum,
            )
    except _REFUSED as error:
        raise Misconfigured(f"{migration.name}: {error}", next_step="correct the migration") from error
