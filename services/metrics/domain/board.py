"""The tallies of a partition, and their plans as columns, for many events at a time."""

from dataclasses import dataclass

import numpy as np

from schemas.experiments import MetricKind
from services.metrics.domain.columns import I64, NONE, U64, Mask, Rows
from services.metrics.domain.definitions import MetricPlan
from services.metrics.domain.hashing import hash_of
from services.metrics.domain.tallies import ExperimentTally, VariantTally

_LEAST, _GREATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_NEVER = _GREATEST


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of all plans, as columns: rows are numbered through all experiments."""

    name: U64
    """Hash of the conversions' name."""
    window_ms: I64
    covariate_window_ms: I64
    proportion: Mask
    count: Mask
    quantile: Mask
    ratio: Mask
    denominator: U64
    """Hash of the name of the conversions that a ratio divides by; means nothing for other kinds."""
    kinds: frozenset[MetricKind]
    """All that occur: what only some kinds need is not done where there are none."""
    lower: I64
    upper: I64
    """In micro-units; where a bound is not given, the least and the greatest number of 64 bits."""
    plans: tuple[MetricPlan, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Variants by their place, and experiments by their number on the board."""

    tally: I64
    """By place: the number of its experiment; NONE for a place that is free."""
    experiment: U64
    """By place: hash of the experiment's id."""
    closes_ms: I64
    """By place: event time after which exposures count no more."""
    first_metric: I64
    """By place: the row of the plan's first metric."""
    metrics: I64
    """By place: how many the plan has."""
    broken_down: Mask
    """By place: whether attributes matter to the plan."""
    known: Mask
    """By place: whether anybody defined the experiment."""
    rows: Metrics


class Board:
    """Who is counted where. Whoever changes a plan or a life says so with `stale`."""

    def __init__(self) -> None:
        self.tallies: dict[str, ExperimentTally] = {}
        self.homes: list[VariantTally] = []
        """Every variant's tally by its place. The place of one that was forgotten is used again."""
        self.free: list[int] = []
        self.places: dict[tuple[str, str], int] = {}
        """Place by experiment and variant."""
        self._columns: Columns | None = None

    def let_in(self, tally: ExperimentTally, key: str) -> VariantTally:
        """Make the tally of a new variant."""
        place = self.free.pop() if self.free else len(self.homes)
        variant = VariantTally(key, place, tally)
        if place == len(self.homes):
            self.homes.append(variant)
        else:
            self.homes[place] = variant
        self.put(tally, variant)
        return variant

    def put(self, tally: ExperimentTally, variant: VariantTally) -> None:
        """Make a variant known at its place."""
        tally.variants[variant.key] = variant
        self.places[tally.experiment_id, variant.key] = variant.place
        self.stale()

    def drop(self, key: str) -> ExperimentTally:
        """Forget an experiment; its places are free."""
        tally = self.tallies.pop(key)
        for variant in tally.variants.values():
            del self.places[key, variant.key]
            self.free.append(variant.place)
        self.free.sort(reverse=True)
        self.stale()
        return tally

    def places_of(self, tally: ExperimentTally) -> list[int]:
        """Return the places of an experiment's variants."""
        return [variant.place for variant in tally.variants.values()]

    def stale(self) -> None:
        """Say that something in the columns has changed."""
        self._columns = None

    def tally_at(self, place: int) -> ExperimentTally:
        """Return the experiment of a place."""
        return self.homes[place].tally

    @property
    def columns(self) -> Columns:
        """Return the board as columns."""
        if self._columns is None:
            self._columns = self._make_columns()
        return self._columns

    def metrics_of(self, places: Rows) -> I64:
        """Return how many metrics the plans of these places have."""
        return self.columns.metrics[places]

    def _make_columns(self) -> Columns:
        count = len(self.homes)
        tally, experiment = np.full(count, NONE, np.int64), np.zeros(count, np.uint64)
        closes_ms = np.full(count, _NEVER, np.int64)
        first, metrics = np.zeros(count, np.int64), np.zeros(count, np.int64)
        broken_down, known = np.zeros(count, bool), np.zeros(count, bool)
        plans: list[MetricPlan] = []
        for number, each in enumerate(self.tallies.values()):
            places = self.places_of(each)
            tally[places] = number
            experiment[places] = hash_of(each.experiment_id)
            closes_ms[places] = _NEVER if each.closes_ms is None else each.closes_ms
            first[places], metrics[places] = len(plans), len(each.plan.metrics)
            broken_down[places], known[places] = bool(each.plan.breakdowns), each.known
            plans += each.plan.metrics
        rows = _metrics(tuple(plans))
        return Columns(tally, experiment, closes_ms, first, metrics, broken_down, known, rows)


def _metrics(plans: tuple[MetricPlan, ...]) -> Metrics:
    return Metrics(
        name=np.array([each.conversion_hash for each in plans], np.uint64),
        window_ms=np.array([each.window_ms for each in plans], np.int64),
        covariate_window_ms=np.array([each.covariate_window_ms for each in plans], np.int64),
        proportion=_are(MetricKind.PROPORTION, plans),
        count=_are(MetricKind.COUNT, plans),
        quantile=_are(MetricKind.QUANTILE, plans),
        ratio=_are(MetricKind.RATIO, plans),
        denominator=np.array([each.denominator_hash for each in plans], np.uint64),
        kinds=frozenset(each.kind for each in plans),
        lower=np.array([_LEAST if each.lower is None else each.lower for each in plans], np.int64),
        upper=np.array([_GREATEST if each.upper is None else each.upper for each in plans], np.int64),
        plans=plans,
    )


def _are(kind: MetricKind, plans: tuple[MetricPlan, ...]) -> Mask:
    return np.array([each.kind is kind for each in plans], bool)
