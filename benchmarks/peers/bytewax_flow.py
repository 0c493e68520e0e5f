"""(e) Bytewax: both topics keyed by unit into one stateful map; the sink adds up what it yields."""

import os

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from common import CONVERSIONS, EXPOSURES, SERVERS, Totals, Watch, convert, expose, new_unit

watch, totals = Watch(), Totals()
decode = msgspec.json.decode


def keyed(message):
    event = decode(message.value)
    return event["unit_id"], event


def take(unit, event):
    unit = unit or new_unit()
    return unit, expose(unit, event) if event["type"] == "exposure" else convert(unit, event)


class Adder(StatelessSinkPartition):
    def write_batch(self, items):
        for _, changes in items:
            totals.apply(changes)
        if watch.count(len(items)):
            watch.report(totals)
            os._exit(0)


class Sum(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Adder()


flow = Dataflow("bench")
source = KafkaSource([SERVERS], [EXPOSURES, CONVERSIONS], batch_size=1000)
events = op.map("parse", op.input("kafka", flow, source), keyed)
op.output("sum", op.stateful_map("join", events, take), Sum())
run_main(flow)
