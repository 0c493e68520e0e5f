"""What is remembered of a model."""

import pytest

from libs.common.errors import Refused
from schemas.experiments import Metric, Policy, RampStage
from services.assignment.domain.model_record import MAX_FORMER, MAX_QUARANTINED, ModelRecord, TrialTemplate
from services.assignment.domain.trial import trial_id, trial_of, why_no_trial
from tests.unit.assignment.make import TEMPLATE, model_state

EMPTY = ModelRecord(model="digits")


def test_state_is_taken_over() -> None:
    """A model's state says who is champion and who challenges."""
    record = EMPTY.heard(model_state(1, champion="1", challenger="2", quarantined=["0"]))
    assert (record.serving, record.challenger, record.quarantined) == ("1", "2", ("0",))
    assert (record.row_revision, record.state_revision) == (1, 1)


def test_older_state_changes_nothing() -> None:
    """A state that was heard before, or is older, changes nothing at all."""
    record = EMPTY.heard(model_state(5, champion="2"))
    assert record.heard(model_state(5, champion="9")) is record
    assert record.heard(model_state(4, champion="1")) is record


def test_promotion_serves_until_confirmed_and_after() -> None:
    """The promoted version is the champion at once, whatever `models` says until it confirms."""
    record = EMPTY.heard(model_state(1, champion="1", challenger="2")).promote("2")
    assert record.serving == "2"
    still_old = record.heard(model_state(2, champion="1"))
    assert still_old.serving == "2"
    confirmed = still_old.heard(model_state(3, champion="2"))
    assert (confirmed.serving, confirmed.promoted, confirmed.promoted_over) == ("2", None, ())


def test_two_promotions_in_a_row_wait_for_the_second() -> None:
    """The confirmation of the first promotion does not undo the second."""
    record = EMPTY.heard(model_state(1, champion="1")).promote("2").promote("3")
    first = record.heard(model_state(2, champion="2"))
    assert first.serving == "3"
    assert first.heard(model_state(3, champion="3")).promoted is None


def test_later_decision_overrules_a_promotion() -> None:
    """A champion that is neither the old nor the promoted one was named later, and serves."""
    record = EMPTY.heard(model_state(1, champion="1")).promote("2")
    assert record.heard(model_state(2, champion="7")).serving == "7"


def test_rolled_back_version_is_never_champion() -> None:
    """A quarantined version is neither promoted nor taken over; the champion before goes on serving."""
    record = EMPTY.heard(model_state(1, champion="1")).quarantine(("2",))
    with pytest.raises(Refused, match="rolled back"):
        record.promote("2")
    assert record.heard(model_state(2, champion="2")).serving == "1"


def test_former_champions_serve_again() -> None:
    """Of champions rolled back one after another the one before serves each time; without one, nobody."""
    record = EMPTY.heard(model_state(1, champion="1"))
    record = record.promote("2").heard(model_state(2, champion="2"))
    record = record.heard(model_state(3, champion="3")).promote("4")
    for rolled_back, then in (("4", "3"), ("3", "2"), ("2", "1"), ("1", None)):
        record = record.quarantine((rolled_back,))
        assert record.serving == then


def test_promotion_rolled_back_waits_for_nothing() -> None:
    """A promotion that was rolled back before `models` named it needs no confirmation any more."""
    record = EMPTY.heard(model_state(1, champion="1")).promote("2")
    assert not record.confirmed
    record = record.quarantine(("2",))
    assert (record.serving, record.confirmed) == ("1", True)
    heard = record.heard(model_state(2, champion="1", quarantined=["2"]))
    assert (heard.serving, heard.promoted, heard.former) == ("1", None, ())


def test_former_champions_are_bounded() -> None:
    """The latest former champions are kept, each once, at its latest place."""
    record = EMPTY
    names = [str(number) for number in range(MAX_FORMER + 5)]
    for revision, name in enumerate([*names, "50", "last"], start=1):
        record = record.heard(model_state(revision, champion=name))
    assert len(record.former) == len(set(record.former)) == MAX_FORMER
    assert record.former[-2:] == (names[-1], "50")


def test_no_champion_named_changes_none() -> None:
    """A state without a champion leaves the one that serves."""
    assert EMPTY.with_champion("1").heard(model_state(1, champion=None)).serving == "1"


def test_quarantine_is_bounded() -> None:
    """The quarantine keeps its newest entries."""
    record = EMPTY.quarantine(tuple(str(number) for number in range(MAX_QUARANTINED + 5)))
    assert len(record.quarantined) == MAX_QUARANTINED
    assert record.quarantined[-1] == str(MAX_QUARANTINED + 4)


def test_record_survives_storage() -> None:
    """A record read back from its JSON is the same."""
    record = EMPTY.heard(model_state(1, quarantined=["0"])).promote("2").with_template(TEMPLATE)
    assert ModelRecord.model_validate_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("record", "tried", "live", "why"),
    [
        (EMPTY, False, None, "no challenger"),
        (EMPTY.heard(model_state(1, challenger="2")).quarantine(("2",)), False, None, "rolled back"),
        (EMPTY.heard(model_state(1, champion=None, challenger="2")), False, None, "no champion"),
        (EMPTY.heard(model_state(1, champion="2", challenger="2")), False, None, "champion already"),
        (EMPTY.heard(model_state(1, challenger="2")), False, None, "no trial template"),
        (EMPTY.heard(model_state(1, challenger="2")).with_template(TEMPLATE), True, None, "had its trial"),
        (
            EMPTY.heard(model_state(1, challenger="2")).with_template(TEMPLATE),
            False,
            "x",
            "until x",
        ),
        (
            EMPTY.heard(model_state(1, challenger="2")).with_template(TEMPLATE),
            True,
            "digits-v2",
            "is in its trial",
        ),
    ],
)
def test_every_reason_to_wait_is_said(record: ModelRecord, tried: bool, live: str | None, why: str) -> None:
    """Where a challenger gets no trial, a sentence says why."""
    assert why in why_no_trial(record, tried=tried, live_id=live)


def test_trial_begins_when_all_is_there() -> None:
    """With champion, challenger and template, and no trial before or beside it, nothing stands in the way."""
    record = EMPTY.heard(model_state(1, challenger="2")).with_template(TEMPLATE)
    assert why_no_trial(record, tried=False, live_id=None) == ""


def test_trial_compares_challenger_with_champion() -> None:
    """The trial's control is the champion; metrics and policy are the template's."""
    definition = trial_of("digits", "1", "2", TEMPLATE)
    assert definition.experiment_id == "digits-v2"
    assert definition.variants[0].key == definition.control == "champion"
    assert [each.model_version for each in definition.variants] == ["1", "2"]
    assert (definition.metrics, definition.policy) == (TEMPLATE.metrics, TEMPLATE.policy)


def test_long_names_still_make_a_trial_id() -> None:
    """Where model and version together are too long for a key, the id is shortened and stays distinct."""
    ids = {trial_id("m" * 128, "v" * length) for length in range(1, 100)}
    assert len(ids) == 99
    assert max(len(each) for each in ids) == 128


def test_template_is_checked() -> None:
    """A template from which no trial could be made is refused with the field's name."""
    metric = Metric(name="correct", conversion="correct")
    with pytest.raises(Refused) as refusal:
        TrialTemplate(metrics=(metric, metric)).check()
    assert refusal.value.field == "metrics"
    shrinking = tuple(RampStage(share=share, min_duration_ms=0) for share in (0.5, 0.1))
    with pytest.raises(Refused) as refusal:
        TrialTemplate(metrics=(metric,), policy=Policy(ramp=shrinking)).check()
    assert refusal.value.field == "policy.ramp"
