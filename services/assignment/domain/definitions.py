"""What a definition must keep beyond its schema before it gets a life."""

import math
from itertools import pairwise

from pydantic import JsonValue

from libs.common.errors import Refused
from schemas.experiments import ExperimentDefinition, ExperimentKind, Policy
from trimtab.conditions import BadCondition, compile_condition

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
    _check_kind(definition)
    _check_targeting(definition)
    _check_payloads(definition)
    check_ramp(definition.policy)


def check_ramp(policy: Policy) -> None:
    """Raise Refused when the shares of the stages do not grow: a ramp that shrinks would move units."""
    for before, after in pairwise(policy.ramp):
        if after.share <= before.share:
            raise Refused(
                f"the stages' shares must grow: {after.share} follows {before.share}", field="policy.ramp"
            )


def _check_kind(definition: ExperimentDefinition) -> None:
    kind, versions = definition.kind, [each.model_version for each in definition.variants]
    trial, shadow = kind is ExperimentKind.CHAMPION_CHALLENGER, kind is ExperimentKind.SHADOW
    if trial and len(versions) != TRIAL_VARIANTS:
        raise Refused("a champion_challenger experiment has two variants", field="variants")
    if shadow and definition.model is None:
        raise Refused("a shadow experiment names the model whose versions are asked", field="model")
    if (trial or shadow) and None in versions:
        raise Refused(f"each variant of a {kind} experiment names a version", field="variants")
    if kind is ExperimentKind.FLAG and (definition.model is not None or any(versions)):
        raise Refused(
            "a flag has no model: nothing would be measured of it",
            field="model" if definition.model is not None else "variants",
            next_step="use kind ab or champion_challenger for model versions",
        )
    if definition.sticky and not definition.exposes:
        raise Refused(f"nobody is exposed to a {kind}, so no unit is remembered", field="sticky")


def _check_targeting(definition: ExperimentDefinition) -> None:
    try:
        compile_condition(definition.targeting)
    except BadCondition as error:
        raise Refused(f"targeting: {error}", field="targeting") from error


def _check_payloads(definition: ExperimentDefinition) -> None:
    """Raise Refused unless all payloads are of one JSON type, or there is none: a value has one type."""
    if not all(_finite(each.payload) for each in definition.variants):
        raise Refused(
            "a payload holds NaN or an infinite number, which JSON does not know",
            field="variants",
            next_step="write null, or a number below 1.8e308",
        )
    kinds = {each.key: _json_type(each.payload) for each in definition.variants}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{key}: {kind}" for key, kind in kinds.items())
        raise Refused(
            f"the variants' payloads must be of one JSON type ({found})",
            field="variants",
            next_step="give every variant a payload of the same type, or none",
        )


def _finite(value: JsonValue) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


def _json_type(value: JsonValue) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array"}.get(type(value), "object")
