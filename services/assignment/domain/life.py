"""An experiment's life: which change is legal from where, and what it leads to.

draft ──start──▶ running ◀──pause/resume──▶ paused
                 running ──advance──▶ running, one stage on
                 running ──reallocate──▶ running, other weights (where units keep their variant)
running, paused ──change coverage──▶ the same, with more or less of all units
draft, running, paused ──force──▶ the same, with other units that get a variant by name
running, paused ──promote──▶ promoted
running, paused ──roll back──▶ rolled_back ──verify, once──▶ rolled_back
draft, running, paused ──stop──▶ stopped

Every change is a new revision that says who made it and why. What has ended stays as it ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from libs.common.errors import Refused
from schemas.experiments import Experiment, ExperimentDefinition, ExperimentState
from services.assignment.domain.coverage import coverage_at, last_stage


class Verb(StrEnum):
    """What can be done to an experiment."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    ADVANCE = "advance"
    REALLOCATE = "reallocate"
    CHANGE_COVERAGE = "change_coverage"
    FORCE = "force"
    VERIFY = "verify"
    """Exposures have shown that a rollback is in force: the second of its two phases."""


_DRAFT, _RUNNING, _PAUSED = ExperimentState.DRAFT, ExperimentState.RUNNING, ExperimentState.PAUSED

LEGAL: Mapping[Verb, tuple[frozenset[ExperimentState], ExperimentState | None]] = MappingProxyType(
    {
        Verb.START: (frozenset({_DRAFT}), _RUNNING),
        Verb.PAUSE: (frozenset({_RUNNING}), _PAUSED),
        Verb.RESUME: (frozenset({_PAUSED}), _RUNNING),
        Verb.STOP: (frozenset({_DRAFT, _RUNNING, _PAUSED}), ExperimentState.STOPPED),
        Verb.PROMOTE: (frozenset({_RUNNING, _PAUSED}), ExperimentState.PROMOTED),
        Verb.ROLL_BACK: (frozenset({_RUNNING, _PAUSED}), ExperimentState.ROLLED_BACK),
        Verb.ADVANCE: (frozenset({_RUNNING}), _RUNNING),
        Verb.REALLOCATE: (frozenset({_RUNNING}), _RUNNING),
        Verb.CHANGE_COVERAGE: (frozenset({_RUNNING, _PAUSED}), None),
        Verb.FORCE: (frozenset({_DRAFT, _RUNNING, _PAUSED}), None),
        Verb.VERIFY: (frozenset({ExperimentState.ROLLED_BACK}), None),
    }
)
"""From which states a verb is legal, and the state it leads to; None: it stays in its own."""

ENDED = frozenset({ExperimentState.PROMOTED, ExperimentState.ROLLED_BACK, ExperimentState.STOPPED})


@dataclass(frozen=True, slots=True)
class Note:
    """Who makes a change, why, and when (milliseconds since 1970)."""

    by: str
    reason: str
    now_ms: int


def legal_verbs(state: ExperimentState) -> tuple[Verb, ...]:
    """Return what may be done from this state; once it has ended at most `verify`."""
    return tuple(verb for verb, (origins, _) in LEGAL.items() if state in origins)


def draft(definition: ExperimentDefinition, note: Note) -> Experiment:
    """Return the experiment at revision 1, not started."""
    fields = {name: getattr(definition, name) for name in ExperimentDefinition.model_fields}
    fields["coverage"] = coverage_at(definition, 0)
    return Experiment(
        **fields,
        state=ExperimentState.DRAFT,
        revision=1,
        stage_started_at_ms=note.now_ms,
        created_at_ms=note.now_ms,
        updated_at_ms=note.now_ms,
        changed_by=note.by,
        reason=note.reason,
    )


def change(experiment: Experiment, verb: Verb, note: Note) -> Experiment:
    """Return the next revision. Raises Refused when the verb is not legal now, naming those that are.

    Weights and coverage that a verb sets by hand are the caller's to put in.
    """
    origins, target = LEGAL[verb]
    if experiment.state not in origins:
        raise Refused(
            f"{experiment.experiment_id} is {experiment.state}: it cannot {verb}",
            next_step=_next_step(experiment.state),
        )
    if verb is Verb.VERIFY and experiment.verified_at_ms is not None:
        raise Refused(f"the rollback of {experiment.experiment_id} was verified before")
    updates = _updates(experiment, target or experiment.state, note)
    if verb is Verb.ADVANCE:
        updates |= _next_stage(experiment, note)
    if verb is Verb.VERIFY:
        updates["verified_at_ms"] = note.now_ms
    return experiment.model_copy(update=updates)


def _next_step(state: ExperimentState) -> str:
    if state in ENDED:
        return "it has ended; create a new experiment"
    return f"legal now: {', '.join(legal_verbs(state))}"


def _next_stage(experiment: Experiment, note: Note) -> dict[str, object]:
    stage = experiment.stage + 1
    if stage > last_stage(experiment):
        raise Refused(
            f"{experiment.experiment_id} is at its last stage ({experiment.stage})", next_step="promote it"
        )
    # Where weights were changed by hand, the stage's share may ask for less than is covered: to go on moves
    # nobody, so what is covered stays.
    coverage = max(experiment.coverage, coverage_at(experiment, stage))
    return {"stage": stage, "stage_started_at_ms": note.now_ms, "coverage": coverage}


def _updates(experiment: Experiment, target: ExperimentState, note: Note) -> dict[str, object]:
    updates: dict[str, object] = {
        "state": target,
        "revision": experiment.revision + 1,
        "updated_at_ms": note.now_ms,
        "changed_by": note.by,
        "reason": note.reason,
    }
    if experiment.state is ExperimentState.DRAFT and target is ExperimentState.RUNNING:
        updates |= {"started_at_ms": note.now_ms, "stage_started_at_ms": note.now_ms}
    if target in ENDED and experiment.state not in ENDED:
        updates["ended_at_ms"] = note.now_ms
    return updates
