"""Every Prometheus series of the product, in one typed list: what a dashboard or an alert may name.

Durations are in seconds and counters end in `_total`, as Prometheus has it. A label's values are few and
known beforehand (topics, routes, states): never an id, a unit, a model or an experiment.

    collector(EVENTS_IN).labels(topic="exposures").inc()
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

MetricT = TypeVar("MetricT", Counter, Gauge, Histogram)

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class Series(Generic[MetricT]):
    """One series: its name, what kind it is, what it says, its labels, and a histogram's upper bounds."""

    name: str
    kind: type[MetricT]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# Reading and writing the bus
EVENTS_IN = Series("trimtab_events_in_total", Counter, "Records read from a topic and handled.", ("topic",))
EVENTS_OUT = Series("trimtab_events_out_total", Counter, "Records acknowledged by the bus.", ("topic",))
EVENTS_NOT_OUT = Series(
    "trimtab_events_not_out_total", Counter, "Records that the bus did not take, or not in time.", ("topic",)
)
EVENTS_IGNORED = Series(
    "trimtab_events_ignored_total",
    Counter,
    "Facts, or values in them, that were read and count for nothing: repeated, late, or beyond a limit.",
    ("reason",),
)
DEAD_LETTERS = Series("trimtab_dead_letters_total", Counter, "Records buried as poison.", ("topic",))
LAG = Series(
    "trimtab_lag_records", Gauge, "Records in the log that are not handled yet.", ("topic", "partition")
)
HANDLER_DURATION = Series(
    "trimtab_handler_duration_seconds",
    Histogram,
    "From taking a control record to the end of its handling, retries included.",
    ("topic",),
    _SHORT,
)

# Exact state per partition
LEASES = Series("trimtab_leases", Gauge, "Partitions whose state this process holds.")
LEASES_LOST = Series("trimtab_leases_lost_total", Counter, "Partitions taken over by another owner.")
PUBLISH_DURATION = Series(
    "trimtab_publish_duration_seconds", Histogram, "Writing the changed rows of one partition.", (), _SHORT
)
SNAPSHOT_DURATION = Series(
    "trimtab_snapshot_duration_seconds", Histogram, "Writing one partition's snapshot.", (), _LONG
)
OUTBOX_PENDING = Series("trimtab_outbox_pending", Gauge, "Events that wait in the outbox for the bus.")

# HTTP
HTTP_REQUESTS = Series(
    "trimtab_http_requests_total", Counter, "Requests answered.", ("method", "route", "status")
)
HTTP_DURATION = Series(
    "trimtab_http_request_duration_seconds",
    Histogram,
    "From the first byte of a request to the last of its answer.",
    ("method", "route"),
    _SHORT,
)

# Assigning
RULES_AGE = Series(
    "trimtab_rules_age_seconds",
    Gauge,
    "Since the rules that are served here were last compared with the store.",
)

EVENTS_TAKEN = Series(
    "trimtab_gateway_events_total",
    Counter,
    "Events that callers handed to the gateway: accepted, rejected, or to be sent again.",
    ("outcome",),
)

# What the loop decides
VERDICTS = Series("trimtab_verdicts_total", Counter, "Verdicts published by metrics.", ("kind",))
ROLLBACKS = Series("trimtab_rollbacks_total", Counter, "Rollbacks carried out by assignment.")
ALERTS = Series("trimtab_alerts_total", Counter, "Changes of alerts.", ("severity", "state"))
DEGRADATIONS = Series("trimtab_degradations_total", Counter, "Degradations found.", ("cause",))
RETRAININGS = Series("trimtab_retrainings_total", Counter, "Steps in the life of retrainings.", ("state",))
RETRAINING_RUNNING = Series("trimtab_retraining_running", Gauge, "Retrainings at work in this process.")
CANDIDATES = Series("trimtab_candidate_versions_total", Counter, "Versions registered by the retrainer.")

COUNTERS = (
    EVENTS_IN,
    EVENTS_OUT,
    EVENTS_NOT_OUT,
    EVENTS_IGNORED,
    DEAD_LETTERS,
    LEASES_LOST,
    HTTP_REQUESTS,
    EVENTS_TAKEN,
    VERDICTS,
    ROLLBACKS,
    ALERTS,
    DEGRADATIONS,
    RETRAININGS,
    CANDIDATES,
)
GAUGES = (LAG, LEASES, OUTBOX_PENDING, RETRAINING_RUNNING, RULES_AGE)
HISTOGRAMS = (HANDLER_DURATION, PUBLISH_DURATION, SNAPSHOT_DURATION, HTTP_DURATION)


@cache
def collector(series: Series[MetricT], registry: CollectorRegistry = REGISTRY) -> MetricT:
    """Return what collects this series: the same object for every call with the same registry."""
    # Only a histogram takes buckets, which the type of `kind` cannot tell mypy.
    options: Any = {"buckets": series.buckets} if series.buckets else {}
    return series.kind(series.name, series.help, series.labels, registry=registry, **options)
