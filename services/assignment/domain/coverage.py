"""How much of all traffic takes part in an experiment at a stage of its ramp, and who loses by less of it."""

from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from schemas.experiments import Experiment, ExperimentDefinition, ExperimentKind, ExperimentState
from trimtab.bucketing import pick, ranges


class ExposedUnits(StrEnum):
    """What becomes of units that were exposed, when the coverage is lowered."""

    TO_CONTROL = "to_control"
    """Those outside get what control carries. What units of sticky experiments were given is forgotten."""
    KEEP = "keep"
    """They keep their variant, wherever they lie: only where an experiment remembers its units."""


def follows_ramp(definition: ExperimentDefinition) -> bool:
    """Return whether the stages of a ramp set the coverage."""
    return (
        bool(definition.policy.ramp) and definition.kind is not ExperimentKind.BANDIT and definition.exposes
    )


def coverage_at(definition: ExperimentDefinition, stage: int) -> float:
    """Return the coverage, 0 to 1, at which no non-control variant gets more than the stage's share.

    Variant i owns coverage * w_i, so coverage = share / max(w_i of the non-control variants), at most 1: with
    two equal variants twice the share, and control gets as much as the challenger. Without a ramp, of a
    bandit, whose weights move, and of what exposes nobody it is the definition's own coverage.
    """
    ramp = definition.policy.ramp
    if not follows_ramp(definition):
        return definition.coverage
    total = sum(variant.weight for variant in definition.variants)
    largest = max(variant.weight for variant in definition.variants if variant.key != definition.control)
    if largest <= 0:
        return 1.0
    return min(1.0, ramp[stage].share * total / largest)


def last_stage(definition: ExperimentDefinition) -> int:
    """Return the index of the ramp's last stage; 0 without a ramp."""
    return max(0, len(definition.policy.ramp) - 1)


def lost_share(before: Experiment, after: Experiment) -> float:
    """Return the share, 0 to 1, of all units that had a variant other than control and have it no more.

    Exact, from the ranges of places in [0, 1): before targeting, exclusion and holdout, which only take from
    it. 0 where the experiment goes on and remembers its units; of what such units had been given by earlier
    weights, and forget, the ranges know nothing.
    """
    remembers = after.keeps_units and after.remembers_since == before.remembers_since
    if after.state is ExperimentState.RUNNING and remembers:
        return 0.0
    owned = [ranges([each.weight for each in one.variants], one.coverage) for one in (before, after)]
    cuts = sorted({0.0, 1.0, *(end for each in owned for pair in each for end in pair)})
    lost = Fraction(0)
    for low, high in pairwise(cuts):
        had = _served(before, pick(owned[0], low))
        if had not in (before.control, _served(after, pick(owned[1], low))):
            lost += Fraction(high) - Fraction(low)
    return float(lost)


def _served(experiment: Experiment, index: int | None) -> str:
    """Return the key of the variant that serves a place whose range has this index."""
    if experiment.kind is ExperimentKind.SHADOW:  # shown to nobody
        return experiment.control
    if experiment.state is ExperimentState.RUNNING:
        return experiment.control if index is None else experiment.variants[index].key
    return experiment.promoted_variant or experiment.control
