"""`trimtab audit` as a program, where it cannot read what it must: exit code 2, and what to do."""

import json
import secrets
from urllib.parse import urlsplit

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import connect
from services.metrics.bootstrap.ground import MIGRATIONS, SCHEMA, TOPICS
from tests.integration.metrics.test_audit import definition, program, send, surroundings

BARRED = [
    ("ALTER TABLE metrics.partition_variants DROP late_units", "partition_variants has no late_units"),
    ("ALTER TABLE metrics.partition_hours RENAME TO hours", "has no tables partition_hours"),
    (
        "INSERT INTO metrics.experiments (experiment_id, revision, record) VALUES ('barred', 1, '{}')",
        "cannot read the definition in the judge's record",
    ),
    ("REVOKE SELECT ON metrics.partition_segments FROM reader", "may not read the tables partition_segments"),
    ("REVOKE USAGE ON SCHEMA metrics FROM reader", "may not read the schema metrics"),
    ("UPDATE metrics.partition_leases SET published_offsets = '[]'", "AttributeError"),
]


async def test_what_cannot_be_read_ends_with_2(kafka_bootstrap_servers: str, database_url: str) -> None:
    """An older database, a definition of another version, missing privileges and what nobody foresaw: never
    1, which says that numbers differ; each with its reason and what to do."""
    bus = KafkaBus(kafka_bootstrap_servers, client_id="test", clock=SystemClock())
    await bus.admin().ensure_topics(TOPICS)
    await send(bus, [Message("experiments", "barred", definition("barred", 1).to_json())])
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=10_000, clock=SystemClock())
    password = secrets.token_hex(8)
    where = urlsplit(database_url)
    name = f"reader_{secrets.token_hex(4)}"
    url = where._replace(netloc=f"{name}:{password}@{where.netloc.rpartition('@')[2]}").geturl()
    environment = surroundings(kafka_bootstrap_servers, url)
    async with pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        await pool.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        try:
            for statement, reason in BARRED:
                await pool.execute("DROP SCHEMA metrics CASCADE")
                await migrate(pool, SCHEMA, MIGRATIONS)
                await pool.execute(f"GRANT USAGE ON SCHEMA metrics TO {name}")
                await pool.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA metrics TO {name}")
                await pool.execute(
                    "INSERT INTO metrics.partition_leases (partition, owner, epoch) VALUES (0, 'test', 1)"
                )
                await pool.execute(statement.replace("FROM reader", f"FROM {name}"))
                ended = await program(environment, "services.metrics.audit", "barred", "--json")
                told = json.loads(ended.out)
                assert (ended.code, told["equal"]) == (2, None), ended.out
                assert reason in told["problem"]
                assert told["next_step"]
        finally:
            await pool.execute(f"DROP OWNED BY {name}")
            await pool.execute(f"DROP ROLE {name}")
