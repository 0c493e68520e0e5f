"""What a definition must keep to be a bandit or a factorial experiment."""

from collections.abc import Sequence

from schemas.metrics import Metric, MetricKind, MetricRole
from schemas.policies import Policy

EARNED = frozenset({MetricKind.PROPORTION, MetricKind.MEAN, MetricKind.COUNT})
"""Kinds of metrics that a bandit can learn from."""


def check_factors(multivariate: bool, levels: Sequence[dict[str, str]]) -> None:
    """Raise ValueError unless every variant is another combination of levels of the same factors."""
    if not multivariate:
        if any(levels):
            raise ValueError("variants.levels: only a multivariate experiment has factors")
        return
    factors = set(levels[0])
    if not factors or any(set(each) != factors for each in levels):
        raise ValueError("variants.levels: every variant of a multivariate experiment names the same factors")
    if len({tuple(sorted(each.items())) for each in levels}) != len(levels):
        raise ValueError("variants.levels: every combination of levels may occur once")
    for factor in sorted(factors):
        if len({each[factor] for each in levels}) < 2:
            raise ValueError(f"variants.levels: the factor {factor} needs at least two levels")


def check_bandit(policy: Policy, metrics: Sequence[Metric], variants: int) -> None:
    """Raise ValueError unless the policy says how the weights move, by a metric that can be earned."""
    if policy.bandit is None:
        raise ValueError("policy.bandit: a bandit says how its weights follow its results")
    if policy.bandit.floor * variants > 1.0:
        raise ValueError(f"policy.bandit.floor: {variants} variants cannot each have {policy.bandit.floor}")
    earned = earned_metric(policy, metrics)
    if earned is None:
        raise ValueError("policy.bandit.metric: is not the name of a metric")
    if earned.kind not in EARNED:
        raise ValueError("policy.bandit.metric: a bandit learns from a proportion, a mean or a count")


def earned_metric(policy: Policy, metrics: Sequence[Metric]) -> Metric | None:
    """Return the metric that the policy's bandit learns from: the named one, the first goal, the first."""
    name = policy.bandit.metric if policy.bandit else None
    if name is not None:
        return next((each for each in metrics if each.name == name), None)
    goals = [each for each in metrics if each.role is MetricRole.GOAL]
    return next(iter([*goals, *metrics]), None)
