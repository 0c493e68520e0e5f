"""(f) A plain aiokafka loop: one record at a time, dicts, no durability."""

import asyncio

import msgspec
from aiokafka import AIOKafkaConsumer
from common import CONVERSIONS, EXPOSURES, GROUP, SERVERS, Totals, Watch, convert, expose, new_unit


async def main():
    consumer = AIOKafkaConsumer(
        EXPOSURES,
        CONVERSIONS,
        bootstrap_servers=SERVERS,
        group_id=GROUP,
        auto_offset_reset="earliest",
        value_deserializer=msgspec.json.decode,
    )
    watch, totals, units = Watch(), Totals(), {}
    await consumer.start()
    async for record in consumer:
        event = record.value
        unit = units.get(event["unit_id"])
        if unit is None:
            unit = units[event["unit_id"]] = new_unit()
        totals.apply(expose(unit, event) if record.topic == EXPOSURES else convert(unit, event))
        if watch.count():
            break
    watch.report(totals)
    await consumer.stop()


asyncio.run(main())
