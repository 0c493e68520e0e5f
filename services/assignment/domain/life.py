"""An experiment's life: which change is legal from where, and what it leads to.

draft ──start──▶ running ◀──pause/resume──▶ paused
                 running ──advance──▶ running, one stage on
                 running ──reallocate──▶ running, other weights (a bandit)
running, paused ──promote──▶ promoted
running, paused ──roll back──▶ rolled_back
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


_DRAFT, _RUNNING, _PAUSED = ExperimentState.DRAFT, ExperimentState.RUNNING, ExperimentState.PAUSED

LEGAL: Mapping[Verb, tuple[frozenset[ExperimentState], ExperimentState]] = MappingProxyType(
    {
        Verb.START: (frozenset({_DRAFT}), _RUNNING),
        Verb.PAUSE: (frozenset({_RUNNING}), _PAUSED),
        Verb.RESUME: (frozenset({_PAUSED}), _RUNNING),
        Verb.STOP: (frozenset({_DRAFT, _RUNNING, _PAUSED}), ExperimentState.STOPPED),
        Verb.PROMOTE: (frozenset({_RUNNING, _PAUSED}), ExperimentState.PROMOTED),
        Verb.ROLL_BACK: (frozenset({_RUNNING, _PAUSED}), ExperimentState.ROLLED_BACK),
        Verb.ADVANCE: (frozenset({_RUNNING}), _RUNNING),
        Verb.REALLOCATE: (frozenset({_RUNNING}), _RUNNING),
    }
)
"""From which states a verb is legal, and the state it leads to."""

ENDED = frozenset({ExperimentState.PROMOTED, ExperimentState.ROLLED_BACK, ExperimentState.STOPPED})


@dataclass(frozen=True, slots=True)
class Note:
    """Who makes a change, why, and when (milliseconds since 1970)."""

    by: str
    reason: str
    now_ms: int


def legal_verbs(state: ExperimentState) -> tuple[Verb, ...]:
    """Return what may be done from this state; nothing once it has ended."""
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
    """Return the next revision. Raises Refused when the verb is not legal now, naming those that are."""
    origins, target = LEGAL[verb]
    if experiment.state not in origins:
        legal = ", ".join(legal_verbs(experiment.state))
        raise Refused(
            f"{experiment.experiment_id} is {experiment.state}: it cannot {verb}",
            next_step=f"legal now: {legal}" if legal else "it has ended; create a new experiment",
        )
    stage = experiment.stage + 1 if verb is Verb.ADVANCE else experiment.stage
    if stage > last_stage(experiment):
        raise Refused(
            f"{experiment.experiment_id} is at its last stage ({experiment.stage})", next_step="promote it"
        )
    return experiment.model_copy(update=_updates(experiment, target, stage, note))


def _updates(experiment: Experiment, target: ExperimentState, stage: int, note: Note) -> dict[str, object]:
    updates: dict[str, object] = {
        "state": target,
        "revision": experiment.revision + 1,
        "updated_at_ms": note.now_ms,
        "changed_by": note.by,
        "reason": note.reason,
    }
    if experiment.state is ExperimentState.DRAFT and target is ExperimentState.RUNNING:
        updates |= {"started_at_ms": note.now_ms, "stage_started_at_ms": note.now_ms}
    if stage != experiment.stage:
        coverage = coverage_at(experiment, stage)
        updates |= {"stage": stage, "stage_started_at_ms": note.now_ms, "coverage": coverage}
    if target in ENDED:
        updates["ended_at_ms"] = note.now_ms
    return updates
