"""What ingest has to know of an experiment: which conversions count, and for how long."""

from dataclasses import dataclass

from schemas.experiments import Experiment, MetricKind


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """How one metric's value of a unit is made from its conversions."""

    name: str
    conversion: str
    window_ms: int
    """Conversions count from the first exposure's event time to this much later, both ends included."""
    proportion: bool


Plan = tuple[MetricPlan, ...]


def plan_of(experiment: Experiment) -> Plan:
    """Return what ingest has to measure for this experiment."""
    return tuple(
        MetricPlan(each.name, each.conversion, each.window_ms, each.kind is MetricKind.PROPORTION)
        for each in experiment.metrics
    )


class Definitions:
    """The experiments known so far. One object is shared by all partitions of a process.

    When a definition arrives does not matter: partitions keep a unit's conversions whether a metric wants
    them or not, and recount an experiment from these when its plan is new or has changed.
    """

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}
        self._revisions: dict[str, int] = {}
        self.version = 0
        """Grows with every change of a plan: a partition that has seen this number is up to date."""

    def keep(self, experiment: Experiment) -> None:
        """Remember a definition; an older revision than the one known is ignored."""
        key = experiment.experiment_id
        if experiment.revision < self._revisions.get(key, 0):
            return
        self._revisions[key] = experiment.revision
        plan = plan_of(experiment)
        if self._plans.get(key) != plan:
            self._plans[key] = plan
            self.version += 1

    def knows(self, experiment_id: str) -> bool:
        """Return whether anybody defined this experiment."""
        return experiment_id in self._plans

    def plan(self, experiment_id: str) -> Plan:
        """Return what to measure; nothing for an experiment that is not known (yet)."""
        return self._plans.get(experiment_id, ())
