"""Apache Kafka and PostgreSQL as the embedded stack runs them."""

import asyncpg

from deploy.local.stack import LocalStack


async def test_each_module_gets_an_empty_database_of_its_own(stack: LocalStack, database_url: str) -> None:
    """The fixture's database is not the stack's, and holds no table."""
    assert database_url != stack.database_url
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
    finally:
        await connection.close()
