"""What ingest has to know of an experiment: which conversions count, for how long, and until when."""

from dataclasses import dataclass, field

from libs.statistics.sums import MICRO, to_micro
from schemas.experiments import Breakdown, Experiment, MetricKind
from services.metrics.domain.hashing import hash_of


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """How one metric's value of a unit is made from its conversions."""

    name: str
    conversion: str
    window_ms: int
    """Conversions count from the first exposure's event time to this much later, both ends included."""
    kind: MetricKind
    lower: int | None = None
    """In micro-units, as `upper`: a unit's value is brought within these."""
    upper: int | None = None
    covariate_window_ms: int = 0
    denominator: str | None = None
    """Of a ratio: the conversions whose sum takes the covariate's place."""
    conversion_hash: int = field(init=False)
    denominator_hash: int = field(init=False)

    def __post_init__(self) -> None:
        """Hash the names once."""
        object.__setattr__(self, "conversion_hash", hash_of(self.conversion))
        object.__setattr__(self, "denominator_hash", hash_of(self.denominator or ""))

    def value(self, count: int, total: int) -> int:
        """Return the value, in micro-units, of a unit with so many conversions of this sum."""
        if not count:
            return 0
        if self.kind is MetricKind.PROPORTION:
            return MICRO
        if self.kind is MetricKind.COUNT:
            return count * MICRO
        if self.lower is not None and total < self.lower:
            return self.lower
        if self.upper is not None and total > self.upper:
            return self.upper
        return total


@dataclass(frozen=True, slots=True)
class Plan:
    """What ingest measures of one experiment."""

    metrics: tuple[MetricPlan, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()

    @property
    def longest_ms(self) -> int:
        """Return the longest window of its metrics."""
        return max((metric.window_ms for metric in self.metrics), default=0)


NO_PLAN = Plan()


def plan_of(experiment: Experiment) -> Plan:
    """Return what ingest has to measure for this experiment."""
    metrics = tuple(
        MetricPlan(
            name=each.name,
            conversion=each.conversion,
            window_ms=each.window_ms,
            kind=each.kind,
            lower=None if each.lower_bound is None else to_micro(each.lower_bound),
            upper=None if each.upper_bound is None else to_micro(each.upper_bound),
            covariate_window_ms=each.covariate_window_ms,
            denominator=each.denominator,
        )
        for each in experiment.metrics
    )
    return Plan(metrics, experiment.breakdowns)


class Definitions:
    """The experiments known so far. One object is shared by all partitions of a process.

    When a definition arrives does not matter: partitions keep a unit's conversions whether a metric wants
    them or not, and recount an experiment from these when its plan is new or has changed.
    """

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}
        self._revisions: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self.look_back_ms = 0
        """The longest covariate window of any experiment ever known."""
        self.version = 0
        """Grows with every change of a plan or an end; a partition that has seen this is up to date."""

    def keep(self, experiment: Experiment) -> None:
        """Remember a definition; an older revision than the one known is ignored."""
        key = experiment.experiment_id
        if experiment.revision < self._revisions.get(key, 0):
            return
        self._revisions[key] = experiment.revision
        plan = plan_of(experiment)
        ended_ms = None if experiment.live else experiment.ended_at_ms
        self.look_back_ms = max(self.look_back_ms, *(each.covariate_window_ms for each in plan.metrics), 0)
        if self._plans.get(key) != plan or self._ended.get(key) != ended_ms:
            self._plans[key] = plan
            self.version += 1
        if ended_ms is None:
            self._ended.pop(key, None)
        else:
            self._ended[key] = ended_ms

    def knows(self, experiment_id: str) -> bool:
        """Return whether anybody defined this experiment."""
        return experiment_id in self._plans

    def plan(self, experiment_id: str) -> Plan:
        """Return what to measure; nothing for an experiment that is not known (yet)."""
        return self._plans.get(experiment_id, NO_PLAN)

    def ended_ms(self, experiment_id: str) -> int | None:
        """Return when an experiment ended. None while it lives, and while nobody knows it."""
        return self._ended.get(experiment_id)

    def closes_ms(self, experiment_id: str, lateness_ms: int) -> int | None:
        """Return the event time after which exposures to an ended experiment count no more: its end, its
        longest window and the lateness. None while it lives, and while nobody knows it."""
        ended_ms = self._ended.get(experiment_id)
        return None if ended_ms is None else ended_ms + self.plan(experiment_id).longest_ms + lateness_ms
