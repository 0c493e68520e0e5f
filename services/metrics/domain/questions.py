"""What is asked about a metric, and by which name an answer is remembered."""

from functools import lru_cache

from libs.common.ids import derived_id
from libs.statistics.comparisons import Question
from libs.statistics.sequences import Tuning
from schemas.experiments import Direction, Experiment, Metric, MetricKind


def question(experiment: Experiment, metric: Metric) -> Question:
    """Return what is asked about a metric under the experiment's policy."""
    policy = experiment.policy
    return Question(
        proportion=metric.kind is MetricKind.PROPORTION,
        better_when_higher=metric.direction is Direction.INCREASE,
        margin=metric.margin,
        tuning=Tuning(policy.alpha, policy.tuned_units),
        burn_in_units=policy.burn_in_units,
    )


def question_key(experiment: Experiment, metric: Metric, variant: str) -> str:
    """Return a key that changes with everything that makes two p-values incomparable."""
    policy = experiment.policy
    return _key(
        metric.name,
        metric.conversion,
        metric.kind,
        metric.window_ms,
        str((metric.denominator, metric.quantile, metric.lower_bound, metric.upper_bound)),
        metric.covariate_window_ms,
        variant,
        experiment.control,
        str(policy.alpha),
        policy.tuned_units,
    )


@lru_cache(maxsize=65_536)
def _key(*parts: str | int) -> str:
    return derived_id(*parts)
