"""How much of all traffic takes part in an experiment at a stage of its ramp."""

from schemas.experiments import ExperimentDefinition, ExperimentKind


def coverage_at(definition: ExperimentDefinition, stage: int) -> float:
    """Return the coverage, 0 to 1, at which no non-control variant gets more than the stage's share.

    Variant i owns coverage * w_i, so coverage = share / max(w_i of the non-control variants), at most 1: with
    two equal variants twice the share, and control gets as much as the challenger. Without a ramp, of a
    bandit, whose weights move, and of what exposes nobody it is the definition's own coverage.
    """
    ramp = definition.policy.ramp
    if not ramp or definition.kind is ExperimentKind.BANDIT or not definition.exposes:
        return definition.coverage
    total = sum(variant.weight for variant in definition.variants)
    largest = max(variant.weight for variant in definition.variants if variant.key != definition.control)
    if largest <= 0:
        return 1.0
    return min(1.0, ramp[stage].share * total / largest)


def last_stage(definition: ExperimentDefinition) -> int:
    """Return the index of the ramp's last stage; 0 without a ramp."""
    return max(0, len(definition.policy.ramp) - 1)
