"""Cooldown, single flight, dry runs, and the steps of a run."""

import pytest

from libs.common.errors import Conflict
from schemas.health import Degradation, DegradationCause
from schemas.names import MAX_TEXT_CHARS
from schemas.versions import Retraining, RetrainingCause, RetrainingState
from services.retrainer.domain.rules import Rules, Situation, decide, in_words, window_from_ms
from services.retrainer.domain.runs import Run, clipped, request_of

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000
RULES = Rules(24 * HOUR_MS, 30 * 24 * HOUR_MS, 1_000, HOUR_MS, "random_forest")


def request(**fields: object) -> Retraining:
    """A person's request."""
    plain = {
        "retraining_id": "r1",
        "model": "m",
        "state": RetrainingState.REQUESTED,
        "cause": RetrainingCause.REQUEST,
        "requested_by": "ann",
        "occurred_at_ms": NOW_MS,
        "reason": "because",
    }
    return Retraining.model_validate({**plain, **fields})


def situation(*, trained_ago_ms: int | None = None, open_run: Run | None = None) -> Situation:
    """What is known: nothing under way and never trained, unless said."""
    last = None if trained_ago_ms is None else NOW_MS - trained_ago_ms
    return Situation(NOW_MS, open_run, last, "3")


def test_first_request_is_accepted() -> None:
    """With nothing under way and no training yet, a request is accepted."""
    assert decide(request(), situation(), RULES).state is RetrainingState.REQUESTED


def test_cooldown_refuses_and_says_how_long() -> None:
    """Within the cooldown a request is refused, with how long to wait and what overrides it."""
    answer = decide(request(), situation(trained_ago_ms=HOUR_MS * 20), RULES)
    assert answer.state is RetrainingState.REFUSED
    assert "20.0 h ago" in answer.reason
    assert "wait 4.0 h more, or ask with force" in answer.reason


def test_cooldown_ends() -> None:
    """After the cooldown a request is accepted."""
    assert decide(request(), situation(trained_ago_ms=HOUR_MS * 24), RULES).state is RetrainingState.REQUESTED


def test_force_overrides_the_cooldown_alone() -> None:
    """Force overrides the cooldown, but not single flight."""
    forced = request(force=True)
    assert decide(forced, situation(trained_ago_ms=1), RULES).state is RetrainingState.REQUESTED
    busy = situation(open_run=Run(request(retraining_id="r0"), NOW_MS, "", NOW_MS))
    answer = decide(forced, busy, RULES)
    assert answer.state is RetrainingState.REFUSED
    assert "r0 of m is under way (requested)" in answer.reason


def test_degradation_waits_for_the_end_of_the_cooldown() -> None:
    """Within the cooldown a degradation is not refused: it waits, and the answer says until when."""
    asked = request(cause=RetrainingCause.DEGRADATION, cause_id="d1")
    answer = decide(asked, situation(trained_ago_ms=HOUR_MS * 20), RULES)
    assert (answer.state, answer.due_at_ms) == (RetrainingState.REQUESTED, NOW_MS + 4 * HOUR_MS)
    assert answer.reason.startswith(
        "because; waits for 4.0 h, until 2023-11-15T02:13:20Z: the last retraining"
    )
    assert decide(asked, situation(), RULES).due_at_ms == NOW_MS


def test_waiting_retraining_gives_its_place() -> None:
    """A retraining that only waits is no obstacle: whatever may begin takes its place."""
    waits = Run(request(retraining_id="r0"), NOW_MS, "", NOW_MS + 1)
    answer = decide(request(force=True), situation(open_run=waits, trained_ago_ms=1), RULES)
    assert answer.state is RetrainingState.REQUESTED
    assert (
        decide(request(), situation(open_run=waits, trained_ago_ms=1), RULES).state is RetrainingState.REFUSED
    )


def test_dry_run_tells_the_plan() -> None:
    """A dry run answers what would be done, with the numbers."""
    answer = decide(request(dry_run=True), situation(), RULES)
    assert answer.state is RetrainingState.PLANNED
    for part in ("1000 labelled examples of m", "random_forest", "version 3"):
        assert part in answer.reason


def test_dry_run_tells_an_obstacle() -> None:
    """A dry run within the cooldown answers that it would be refused, and why."""
    answer = decide(request(dry_run=True), situation(trained_ago_ms=1), RULES)
    assert answer.state is RetrainingState.PLANNED
    assert answer.reason.startswith("it would be refused: the last retraining of m")


def test_window_never_reaches_behind_the_look_back() -> None:
    """The window begins with the change, but never longer ago than the look-back; without a change there."""
    assert window_from_ms(900, 1_000, 500) == 900
    assert window_from_ms(100, 1_000, 500) == 500
    assert window_from_ms(None, 1_000, 500) == 500
    assert window_from_ms(None, 100, 500) == 0


@pytest.mark.parametrize(
    ("duration_ms", "words"), [(90_000, "90 s"), (300_000, "5.0 min"), (11_520_000, "3.2 h")]
)
def test_durations_are_told_in_words(duration_ms: int, words: str) -> None:
    """Durations are told in the unit that fits."""
    assert in_words(duration_ms) == words


def test_same_degradation_asks_for_the_same_retraining() -> None:
    """The id depends on the degradation's id alone, and the window begins where the change did."""
    degradation = Degradation(
        degradation_id="d1",
        model="m",
        version="3",
        cause=DegradationCause.DRIFT,
        occurred_at_ms=NOW_MS,
        since_ms=NOW_MS - 5,
        reason="PSI 0.4",
    )
    first, again = request_of(degradation, NOW_MS), request_of(degradation, NOW_MS + 99)
    assert first.retraining_id == again.retraining_id
    assert (first.since_ms, first.cause_id) == (NOW_MS - 5, "d1")


def test_illegal_steps_are_conflicts() -> None:
    """A run cannot skip a step, nor leave its end."""
    run = Run(request(), NOW_MS, "", NOW_MS)
    with pytest.raises(Conflict, match="cannot become registered"):
        run.moved(RetrainingState.REGISTERED, "", NOW_MS)
    ended = run.moved(RetrainingState.REFUSED, "no", NOW_MS)
    with pytest.raises(Conflict):
        ended.moved(RetrainingState.COLLECTING, "", NOW_MS)


def test_window_end_is_fixed_when_training_begins() -> None:
    """Training fixes the end of the window, and a repeated training keeps it."""
    run = Run(request(), NOW_MS, "", NOW_MS).moved(RetrainingState.COLLECTING, "", NOW_MS)
    training = run.moved(RetrainingState.TRAINING, "", NOW_MS + 5)
    again = training.moved(RetrainingState.VALIDATING, "", NOW_MS + 6).moved(
        RetrainingState.TRAINING, "", NOW_MS + 7
    )
    assert training.until_ms == again.until_ms == NOW_MS + 5


def test_long_reasons_fit_into_an_event() -> None:
    """A reason longer than an event takes is cut, visibly."""
    assert len(clipped("x" * 5_000)) == MAX_TEXT_CHARS
    assert clipped("x" * 5_000).endswith("…")
