"""The life of an experiment: legal changes only, each a new revision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Refused
from schemas.experiments import LIVE_STATES, Experiment, ExperimentState, Policy
from services.assignment.domain.coverage import last_stage
from services.assignment.domain.life import ENDED, LEGAL, Note, Verb, change, draft, legal_verbs
from tests.unit.assignment.make import NOW_MS, RAMP, definition

NOTE = Note("ada", "because", NOW_MS)


def in_state(state: ExperimentState) -> Experiment:
    """Return an experiment in a state."""
    return draft(definition(), NOTE).model_copy(update={"state": state})


def test_draft_begins_at_revision_one() -> None:
    """A new experiment is a draft at revision 1 that knows who made it and covers its first stage."""
    new = draft(definition(), NOTE)
    assert (new.state, new.revision, new.changed_by, new.reason) == ("draft", 1, "ada", "because")
    assert new.coverage == pytest.approx(0.2)
    assert new.started_at_ms is None


@pytest.mark.parametrize("state", ExperimentState)
@pytest.mark.parametrize("verb", Verb)
def test_only_legal_changes_happen(state: ExperimentState, verb: Verb) -> None:
    """Every verb either leads to its state, one revision on, or is refused and says what is legal."""
    experiment = in_state(state)
    origins, target = LEGAL[verb]
    if state in origins:
        after = change(experiment, verb, NOTE)
        assert (after.state, after.revision) == (target or state, experiment.revision + 1)
    else:
        with pytest.raises(Refused) as refusal:
            change(experiment, verb, NOTE)
        told = refusal.value.next_step
        assert "ended" in told if state in ENDED else all(each in told for each in legal_verbs(state))


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_rollback_is_legal_from_every_live_state(state: ExperimentState) -> None:
    """Whatever is live can be rolled back at once."""
    assert change(in_state(state), Verb.ROLL_BACK, NOTE).state is ExperimentState.ROLLED_BACK


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_stays_ended(state: ExperimentState) -> None:
    """From an ended state nothing is legal, but that a rollback is verified."""
    assert legal_verbs(state) == ((Verb.VERIFY,) if state is ExperimentState.ROLLED_BACK else ())


def test_a_rollback_is_verified_once() -> None:
    """The second phase of a rollback keeps the state and the time of its end, and comes once."""
    running = change(draft(definition(), NOTE), Verb.START, NOTE)
    ended = change(running, Verb.ROLL_BACK, Note("metrics", "harm", NOW_MS + 5))
    verified = change(ended, Verb.VERIFY, Note("metrics", "nobody meets it", NOW_MS + 9))
    assert (verified.state, verified.revision) == (ExperimentState.ROLLED_BACK, ended.revision + 1)
    assert (verified.ended_at_ms, verified.verified_at_ms) == (NOW_MS + 5, NOW_MS + 9)
    with pytest.raises(Refused, match="verified before"):
        change(verified, Verb.VERIFY, NOTE)


def test_going_on_never_covers_less() -> None:
    """Where weights were changed by hand so that a stage asks for less, what is covered stays covered."""
    running = change(draft(definition(sticky=True), NOTE), Verb.START, NOTE)
    control, treatment = running.variants
    weights = (control, treatment.model_copy(update={"weight": 99.0}))
    ahead = change(running.model_copy(update={"variants": weights, "coverage": 0.9}), Verb.ADVANCE, NOTE)
    assert (ahead.stage, ahead.coverage) == (1, 0.9)


def test_start_and_end_are_timed() -> None:
    """An experiment knows when it started, when its stage began, and when it ended."""
    running = change(draft(definition(), NOTE), Verb.START, Note("ada", "go", NOW_MS + 5))
    assert (running.started_at_ms, running.stage_started_at_ms) == (NOW_MS + 5, NOW_MS + 5)
    ahead = change(running, Verb.ADVANCE, Note("ada", "on", NOW_MS + 9))
    assert (ahead.started_at_ms, ahead.stage_started_at_ms, ahead.stage) == (NOW_MS + 5, NOW_MS + 9, 1)
    ended = change(ahead, Verb.STOP, Note("ada", "enough", NOW_MS + 12))
    assert (ended.ended_at_ms, ended.updated_at_ms) == (NOW_MS + 12, NOW_MS + 12)


def test_pausing_keeps_stage_and_coverage() -> None:
    """A pause changes nothing but the state: resumed, the experiment stands where it stood."""
    running = change(draft(definition(), NOTE), Verb.START, NOTE)
    resumed = change(change(running, Verb.PAUSE, NOTE), Verb.RESUME, Note("ada", "again", NOW_MS + 7))
    assert (resumed.stage, resumed.coverage) == (running.stage, running.coverage)
    assert (resumed.started_at_ms, resumed.stage_started_at_ms) == (NOW_MS, NOW_MS)


def test_ramp_ends_at_its_last_stage() -> None:
    """Stages raise the coverage one by one; past the last there is only promotion."""
    experiment = change(draft(definition(), NOTE), Verb.START, NOTE)
    seen = [experiment.coverage]
    for _ in RAMP[1:]:
        experiment = change(experiment, Verb.ADVANCE, NOTE)
        seen.append(experiment.coverage)
    assert seen == pytest.approx([0.2, 0.5, 1.0])
    with pytest.raises(Refused, match="last stage") as refusal:
        change(experiment, Verb.ADVANCE, NOTE)
    assert refusal.value.next_step == "promote it"


def test_without_a_ramp_there_is_nothing_to_advance() -> None:
    """An experiment without stages runs at its own coverage."""
    plain = draft(definition(policy=Policy(ramp=()), coverage=0.3), NOTE)
    running = change(plain, Verb.START, NOTE)
    assert running.coverage == 0.3
    with pytest.raises(Refused):
        change(running, Verb.ADVANCE, NOTE)


@given(st.lists(st.sampled_from(Verb), max_size=30))
def test_any_sequence_keeps_the_laws(verbs: list[Verb]) -> None:
    """Whatever is tried in whatever order: revisions count by one, coverage never shrinks, ends are final."""
    experiment = draft(definition(), NOTE)
    for verb in verbs:
        before = experiment
        try:
            experiment = change(experiment, verb, NOTE)
        except Refused:
            continue
        assert before.state not in ENDED or verb is Verb.VERIFY
        assert experiment.revision == before.revision + 1
        assert experiment.coverage >= before.coverage
        assert experiment.stage <= last_stage(experiment)
        assert (experiment.ended_at_ms is not None) == (experiment.state in ENDED)
        assert Experiment.model_validate_json(experiment.to_json()) == experiment
