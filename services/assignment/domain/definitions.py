"""What a definition must keep beyond its schema before it gets a life."""

from itertools import pairwise

from libs.common.errors import Refused
from schemas.experiments import ExperimentDefinition, ExperimentKind, Policy

MAX_DEFINITION_BYTES = 256_000
"""Every reader of `experiments` and every client carries it."""
MAX_COMPARISONS = 500
"""Variants times metrics: the experiment's result, one record with each of them, must fit on the bus."""
TRIAL_VARIANTS = 2


def check_definition(definition: ExperimentDefinition) -> None:
    """Raise Refused, naming the field, for a definition that could not be run as it stands."""
    size = len(definition.to_json())
    if size > MAX_DEFINITION_BYTES:
        raise Refused(
            f"the definition takes {size} bytes; {MAX_DEFINITION_BYTES} is the limit",
            field="variants",
            next_step="keep payloads small: refer to large content by name",
        )
    variants, metrics = len(definition.variants), len(definition.metrics)
    if variants * metrics > MAX_COMPARISONS:
        raise Refused(
            f"{variants} variants times {metrics} metrics are {variants * metrics}; "
            f"{MAX_COMPARISONS} is the limit",
            field="metrics",
            next_step=f"with {variants} variants name at most {MAX_COMPARISONS // variants} metrics",
        )
    trial = definition.kind is ExperimentKind.CHAMPION_CHALLENGER
    if trial and len(definition.variants) != TRIAL_VARIANTS:
        raise Refused("a champion_challenger experiment has two variants", field="variants")
    if trial and any(variant.model_version is None for variant in definition.variants):
        raise Refused("each variant of a champion_challenger experiment names a version", field="variants")
    check_ramp(definition.policy)


def check_ramp(policy: Policy) -> None:
    """Raise Refused when the shares of the stages do not grow: a ramp that shrinks would move units."""
    for before, after in pairwise(policy.ramp):
        if after.share <= before.share:
            raise Refused(
                f"the stages' shares must grow: {after.share} follows {before.share}", field="policy.ramp"
            )
