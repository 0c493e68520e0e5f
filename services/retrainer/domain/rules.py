"""May this retraining begin? Cooldown and single flight, with the reason in words."""

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.versions import Retraining, RetrainingCause, RetrainingState
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
    max_retries: int = 3
    """How often a degradation whose retraining came to nothing is tried again."""


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
    due_at_ms: int
    """When to begin, if it is accepted."""


def decide(request: Retraining, situation: Situation, rules: Rules) -> Answer:
    """Return the answer to a request.

    `force` overrides the cooldown. A degradation that meets the cooldown is accepted and waits for its end:
    the model stays degraded, and nobody says so again. Nothing overrides single flight, but a retraining that
    only waits is not under way: what is accepted takes its place.
    """
    now_ms = situation.now_ms
    flight = _flight(situation)
    cooldown, rest_ms = _cooldown(request, situation, rules)
    obstacle = flight or cooldown
    if request.dry_run:
        return Answer(RetrainingState.PLANNED, _plan(request, situation, rules, obstacle), now_ms)
    if not obstacle:
        return Answer(RetrainingState.REQUESTED, request.reason, now_ms)
    if flight or request.cause is not RetrainingCause.DEGRADATION:
        return Answer(RetrainingState.REFUSED, obstacle, now_ms)
    due_at_ms = now_ms + rest_ms
    waits = f"{request.reason}; waits for {until_in_words(due_at_ms, now_ms)}: {cooldown}"
    return Answer(RetrainingState.REQUESTED, waits, due_at_ms)


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


def until_in_words(until_ms: int, now_ms: int) -> str:
    """Return a wait for people: `4.0 h, until 2026-01-31T16:00:00Z`."""
    until = datetime.fromtimestamp(until_ms / 1_000, UTC)
    return f"{in_words(until_ms - now_ms)}, until {until:%Y-%m-%dT%H:%M:%SZ}"


def _flight(situation: Situation) -> str:
    run = situation.open_run
    if run is None or run.waits(situation.now_ms):
        return ""
    return f"retraining {run.id} of {run.model} is under way ({run.state.value}); one at a time per model"


def _cooldown(request: Retraining, situation: Situation, rules: Rules) -> tuple[str, int]:
    """Return what the cooldown says against it, and how long it still lasts."""
    last = situation.last_trained_at_ms
    rest_ms = 0 if last is None or request.force else last + rules.cooldown_ms - situation.now_ms
    if last is None or rest_ms <= 0:
        return "", 0
    said = (
        f"the last retraining of {request.model} ended {in_words(situation.now_ms - last)} ago and the "
        f"cooldown is {in_words(rules.cooldown_ms)}: wait {in_words(rest_ms)} more, or ask with force"
    )
    return said, rest_ms


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
