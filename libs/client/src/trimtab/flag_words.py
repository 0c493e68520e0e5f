"""Assignments in the words of OpenFeature: reasons, error codes, values of a flag's type, metadata."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, TypeAlias, TypeVar

from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason

from trimtab import assignments
from trimtab.assignments import Assignment

Value = TypeVar("Value")
Object: TypeAlias = Sequence[FlagValueType] | Mapping[str, FlagValueType]
Read: TypeAlias = Callable[[Any], Value | None]
"""From an assignment's value to the flag's, None where it is of another type."""

REASONS: Final[Mapping[str, Reason]] = {
    assignments.ASSIGNED: Reason.SPLIT,
    assignments.FLAG: Reason.SPLIT,
    assignments.FORCED: Reason.TARGETING_MATCH,
    assignments.OUTSIDE: Reason.DEFAULT,
    assignments.NOT_TARGETED: Reason.DEFAULT,
    assignments.EXCLUDED: Reason.DEFAULT,
    assignments.HELD_OUT: Reason.DEFAULT,
    assignments.NOT_EXPOSED: Reason.DEFAULT,
    assignments.SHADOW: Reason.DEFAULT,
    assignments.PAUSED: Reason.DISABLED,
    assignments.QUARANTINED: Reason.DISABLED,
    assignments.UNSUPPORTED: Reason.DISABLED,
    assignments.SETTLED: Reason.STATIC,
    assignments.CHAMPION: Reason.STATIC,
}
"""Ours to OpenFeature's. Ours stands in the flag's metadata as `reason`."""

ERRORS: Final[Mapping[str, tuple[ErrorCode, str]]] = {
    assignments.UNKNOWN: (ErrorCode.FLAG_NOT_FOUND, "neither an experiment nor a model has this key"),
    assignments.NO_RULES: (ErrorCode.PROVIDER_NOT_READY, "no rules have arrived from the assignment service"),
    assignments.UNREACHABLE: (ErrorCode.GENERAL, "the assignment service did not answer in time"),
    assignments.BAD_UNIT: (ErrorCode.INVALID_CONTEXT, "the targeting key cannot be a unit's id"),
    assignments.FAILED: (ErrorCode.GENERAL, "the flag could not be evaluated: see the log"),
}


def resolution(assignment: Assignment, default: Value, read: Read[Value]) -> FlagResolutionDetails[Value]:
    """Return what an assignment says about a flag of the type that `read` reads."""
    problem = ERRORS.get(assignment.reason)
    if problem is not None:
        return error(default, *problem)
    value = read(assignment.value)
    if value is None and assignment.value is not None:
        kind = type(assignment.value).__name__
        return error(default, ErrorCode.TYPE_MISMATCH, f"the flag's value is of type {kind}")
    # A model without a champion has no value: the code's own default applies.
    return FlagResolutionDetails(
        value=default if value is None else value,
        reason=Reason.DEFAULT if value is None else REASONS.get(assignment.reason, Reason.UNKNOWN),
        variant=assignment.variant or (None if value is None else assignments.CHAMPION),
        flag_metadata=_metadata(assignment),
    )


def error(default: Value, code: ErrorCode, message: str) -> FlagResolutionDetails[Value]:
    """Return that the default applies, and why."""
    return FlagResolutionDetails(value=default, reason=Reason.ERROR, error_code=code, error_message=message)


def _metadata(assignment: Assignment) -> dict[str, bool | int | float | str]:
    found: dict[str, bool | int | float | str] = {
        "reason": assignment.reason,
        "in_experiment": assignment.in_experiment,
    }
    if assignment.experiment_id is not None:
        found["experiment_id"] = assignment.experiment_id
        found["revision"] = assignment.revision
    if assignment.model_version is not None:
        found["model_version"] = assignment.model_version
    return found


def read_boolean(value: Any) -> bool | None:
    """Return the value if it is true or false."""
    return value if isinstance(value, bool) else None


def read_string(value: Any) -> str | None:
    """Return the value if it is a text."""
    return value if isinstance(value, str) else None


def read_integer(value: Any) -> int | None:
    """Return the value if it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_float(value: Any) -> float | None:
    """Return the value if it is a number, also a whole one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_object(value: Any) -> Object | None:
    """Return a copy of the value if it is a list or an object: nobody can change the rules by it."""
    return deepcopy(value) if isinstance(value, dict | list) else None
