"""May this retraining begin? Cooldown and single flight, with the reason in words."""

from dataclasses import dataclass

from schemas.versions import Retraining, RetrainingState
from services.retrainer.domain.runs import Run

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that a decision rests on, and what a plan tells of."""

    cooldown_ms: int
    look_back_ms: int
    min_examples: int
    collect_deadline_ms: int
    trainer: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the model when the request is heard."""

    now_ms: int
    open_run: Run | None
    last_trained_at_ms: int | None
    champion: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a request: `requested` (accepted), `refused` or `planned`."""

    state: RetrainingState
    reason: str


def decide(request: Retraining, situation: Situation, rules: Rules) -> Answer:
    """Return the answer to a request. `force` overrides the cooldown, nothing overrides single flight."""
    obstacle = _obstacle(request, situation, rules)
    if request.dry_run:
        return Answer(RetrainingState.PLANNED, _plan(request, situation, rules, obstacle))
    if obstacle:
        return Answer(RetrainingState.REFUSED, obstacle)
    return Answer(RetrainingState.REQUESTED, request.reason)


def window_from_ms(since_ms: int | None, now_ms: int, look_back_ms: int) -> int:
    """Return where the examples begin: at `since_ms`, but never longer ago than the look-back."""
    return max(since_ms or 0, now_ms - look_back_ms, 0)


def in_words(duration_ms: int) -> str:
    """Return a duration for people: `90 s`, `5.0 min`, `3.2 h`."""
    if duration_ms < 120_000:
        return f"{duration_ms / 1_000:.0f} s"
    if duration_ms < 2 * HOUR_MS:
        return f"{duration_ms / 60_000:.1f} min"
    return f"{duration_ms / HOUR_MS:.1f} h"


def _obstacle(request: Retraining, situation: Situation, rules: Rules) -> str:
    if situation.open_run is not None:
        run = situation.open_run
        return f"retraining {run.id} of {run.model} is under way ({run.state.value}); one at a time per model"
    last = situation.last_trained_at_ms
    if last is None or request.force:
        return ""
    rest_ms = last + rules.cooldown_ms - situation.now_ms
    if rest_ms <= 0:
        return ""
    return (
        f"the last retraining of {request.model} ended {in_words(situation.now_ms - last)} ago and the "
        f"cooldown is {in_words(rules.cooldown_ms)}: wait {in_words(rest_ms)} more, or ask with force"
    )


def _plan(request: Retraining, situation: Situation, rules: Rules, obstacle: str) -> str:
    if obstacle:
        return f"it would be refused: {obstacle}"
    from_ms = window_from_ms(request.since_ms, situation.now_ms, rules.look_back_ms)
    against = f"version {situation.champion}" if situation.champion else "no champion"
    return (
        f"it would collect at least {rules.min_examples} labelled examples of {request.model} from "
        f"{from_ms} ms on (for up to {in_words(rules.collect_deadline_ms)}), train a {rules.trainer}, "
        f"validate it on the latest of them against {against}, and register it as challenger"
    )
