"""(d) Quix Streams: one stateful function on the two topics together, state in RocksDB with its changelog."""

import os
import tempfile

from common import CONVERSIONS, EXPOSURES, GROUP, SERVERS, Totals, Watch, convert, expose, new_unit
from quixstreams import Application

app = Application(
    broker_address=SERVERS,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    state_dir=tempfile.mkdtemp(prefix="bench-quix-"),
    loglevel="WARNING",
)
watch, totals = Watch(), Totals()


def take(event, state):
    unit = state.get("unit") or new_unit()
    totals.apply(expose(unit, event) if event["type"] == "exposure" else convert(unit, event))
    state.set("unit", unit)
    if watch.count():
        watch.report(totals)
        os._exit(0)


exposures = app.dataframe(app.topic(EXPOSURES, value_deserializer="json"))
conversions = app.dataframe(app.topic(CONVERSIONS, value_deserializer="json"))
exposures.concat(conversions).update(take, stateful=True)
app.run()
