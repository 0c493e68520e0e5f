"""Bandits: new weights by what each variant earned, at most once per interval, with their propensities.

The sums hold units whose window is still open: rewards should come well within the interval.
"""

from libs.statistics.bandits import Bandit as Rules
from libs.statistics.bandits import Policy as Algorithm
from libs.statistics.bandits import allocate
from schemas.designs import earned_metric
from schemas.experiments import Direction, ExperimentKind, ExperimentState, MetricKind, VerdictKind
from schemas.policies import Bandit
from services.metrics.domain.situation import Advice, Situation

LEAST_CHANGE = 0.005
"""Shares that move by less than this are left as they are: every change is a new revision."""


def reallocate(at: Situation) -> Advice | str:
    """Return the new weights of a bandit, or why they stay, as a sentence."""
    experiment, policy = at.experiment, at.experiment.policy
    metric = earned_metric(policy, experiment.metrics)
    if experiment.kind is not ExperimentKind.BANDIT or policy.bandit is None or metric is None:
        return "the experiment is no bandit"
    if experiment.state is not ExperimentState.RUNNING:
        return f"the experiment is {experiment.state}"
    waited_ms = at.now_ms - max(at.began_ms, at.memory.reallocated_at_ms)
    if waited_ms < policy.bandit.interval_ms:
        return f"{max(0, waited_ms)} of {policy.bandit.interval_ms} ms until the weights may change"
    sums = {each.key: at.totals.metric(each.key, metric.name) for each in experiment.variants}
    rules = _rules(
        policy.bandit, metric.kind is MetricKind.PROPORTION, metric.direction is Direction.INCREASE
    )
    found = allocate(sums, rules)
    if max(abs(found.shares[key] - share) for key, share in _shares(at).items()) < LEAST_CHANGE:
        return "the weights are as they should be"
    best = max(found.shares, key=lambda key: found.shares[key])
    shares = ", ".join(f"{key} {share:.1%}" for key, share in sorted(found.shares.items()))
    return Advice(
        VerdictKind.REALLOCATE,
        best,
        f"{found.reason}, by {metric.name}: {shares}"[:2_000],
        weights=found.shares,
        occasion=str(at.memory.reallocations),
    )


def _rules(bandit: Bandit, proportion: bool, better_when_higher: bool) -> Rules:
    algorithm = Algorithm(bandit.algorithm.value)
    return Rules(algorithm, proportion, better_when_higher, bandit.floor, bandit.epsilon)


def _shares(at: Situation) -> dict[str, float]:
    total = sum(each.weight for each in at.experiment.variants)
    return {each.key: each.weight / total for each in at.experiment.variants}
