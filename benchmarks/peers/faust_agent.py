"""(c) Two Faust agents. BENCH_TABLE=1: the state in a Faust table with its changelog; else in a dict."""

import os
import tempfile

import faust
from common import CONVERSIONS, EXPOSURES, GROUP, SERVERS, Totals, Watch, convert, expose, new_unit

app = faust.App(
    GROUP,
    broker=f"kafka://{SERVERS}",
    value_serializer="json",
    datadir=tempfile.mkdtemp(prefix="bench-faust-"),
    topic_partitions=4,
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    stream_buffer_maxsize=8192,
    stream_wait_empty=False,
    store="memory://",
    web_enabled=False,
)
exposures = app.topic(EXPOSURES, value_serializer="json")
conversions = app.topic(CONVERSIONS, value_serializer="json")
table = app.Table("units", key_type=str, default=new_unit, partitions=4) if os.environ.get("BENCH_TABLE") else None
units = {} if table is None else table
watch, totals = Watch(), Totals()


def take(event, fold):
    key = event["unit_id"]
    unit = units.get(key)
    if unit is None:
        unit = new_unit()
    totals.apply(fold(unit, event))
    units[key] = unit
    if watch.count():
        watch.report(totals)
        os._exit(0)


@app.agent(exposures)
async def exposed(stream):
    async for event in stream:
        take(event, expose)


@app.agent(conversions)
async def converted(stream):
    async for event in stream:
        take(event, convert)


if __name__ == "__main__":
    worker = faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.execute_from_commandline()
