"""(a) aiokafka's getmany, counting: what a Python consumer can reach at all."""

import asyncio

from aiokafka import AIOKafkaConsumer
from common import CONVERSIONS, EXPOSURES, GROUP, SERVERS, Watch


async def main():
    consumer = AIOKafkaConsumer(
        EXPOSURES,
        CONVERSIONS,
        bootstrap_servers=SERVERS,
        group_id=GROUP,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )
    watch, done = Watch(), False
    await consumer.start()
    while not done:
        found = await consumer.getmany(timeout_ms=200, max_records=5_000)
        for records in found.values():
            done = watch.count(len(records))
    watch.report(None)
    await consumer.stop()


asyncio.run(main())
