"""Every change of who is in charge, and the log rows that it means."""

import pytest

from libs.common.errors import Refused
from schemas.versions import ModelState, ModelVersion, Registration, VersionRole
from services.retrainer.domain.versions import (
    VersionChange,
    changes,
    registered,
    with_challenger,
    with_champion,
    with_quarantine,
    without_challenger,
)


def version(number: str) -> ModelVersion:
    """A version."""
    return ModelVersion(version=number, origin="registered", created_at_ms=0)


def registration(number: str, role: VersionRole) -> Registration:
    """A person's request to register."""
    return Registration(
        registration_id="g1",
        model="m",
        version=number,
        role=role,
        requested_by="ann",
        occurred_at_ms=1,
        reason="good",
    )


@pytest.fixture
def state() -> ModelState:
    """Version 1 in charge, version 2 on trial, version 0 in quarantine."""
    return ModelState(
        model="m",
        revision=5,
        champion=version("1"),
        challenger=version("2"),
        quarantined=("0",),
        updated_at_ms=0,
        reason="",
    )


def test_first_champion_makes_the_state() -> None:
    """The first registration makes revision 1, which is a legal event."""
    after = registered(None, registration("1", VersionRole.CHAMPION), version("1"), 9)
    assert ModelState.model_validate_json(after.to_json()) == after
    assert (after.revision, after.updated_at_ms) == (1, 9)
    assert after.champion == version("1")
    assert changes(None, after) == (VersionChange("1", "champion", version("1")),)


def test_new_champion_retires_the_old_one(state: ModelState) -> None:
    """A new champion replaces the old one and leaves the challenger on trial."""
    after = with_champion(state, "m", version("3"), reason="r", now_ms=9)
    assert (after.champion, after.challenger, after.revision) == (version("3"), version("2"), 6)
    assert [(each.version, each.became) for each in changes(state, after)] == [
        ("3", "champion"),
        ("1", "retired"),
    ]


def test_promoted_challenger_is_challenger_no_more(state: ModelState) -> None:
    """A challenger that becomes champion leaves its old place empty."""
    after = with_champion(state, "m", version("2"), reason="r", now_ms=9)
    assert (after.champion, after.challenger) == (version("2"), None)
    assert [(each.version, each.became) for each in changes(state, after)] == [
        ("2", "champion"),
        ("1", "retired"),
    ]


def test_champion_by_hand_lifts_the_quarantine(state: ModelState) -> None:
    """A person who registers a quarantined version as champion lifts its quarantine."""
    assert registered(state, registration("0", VersionRole.CHAMPION), version("0"), 9).quarantined == ()


@pytest.mark.parametrize(("number", "said"), [("0", "quarantined"), ("1", "is the champion already")])
def test_impossible_challengers_are_refused(state: ModelState, number: str, said: str) -> None:
    """A quarantined version and the champion itself cannot be challenger, and that is said."""
    with pytest.raises(Refused, match=said):
        registered(state, registration(number, VersionRole.CHALLENGER), version(number), 9)


def test_challenger_needs_a_champion() -> None:
    """Without a champion there is nothing to challenge."""
    with pytest.raises(Refused, match="no champion"):
        registered(None, registration("1", VersionRole.CHALLENGER), version("1"), 9)


def test_new_challenger_replaces_the_old_one(state: ModelState) -> None:
    """A new challenger takes the place of the old one, which is retired."""
    after = with_challenger(state, "m", version("3"), reason="r", now_ms=9)
    assert after.challenger == version("3")
    assert [(each.version, each.became) for each in changes(state, after)] == [
        ("3", "challenger"),
        ("2", "retired"),
    ]


def test_only_the_named_challenger_is_dropped(state: ModelState) -> None:
    """The end of another version's trial leaves the challenger as it is, and makes no new revision."""
    assert without_challenger(state, ["7"], "r", 9) is state
    assert without_challenger(state, ["2"], "r", 9).challenger is None


def test_quarantine_takes_the_challenger_away_once(state: ModelState) -> None:
    """A rolled-back challenger goes to quarantine; doing it again changes nothing."""
    after = with_quarantine(state, ["2"], "r", 9)
    assert (after.challenger, after.quarantined, after.revision) == (None, ("0", "2"), 6)
    assert [(each.version, each.became) for each in changes(state, after)] == [
        ("2", "retired"),
        ("2", "quarantined"),
    ]
    assert with_quarantine(after, ["2"], "r", 10) is after


def test_quarantine_is_bounded(state: ModelState) -> None:
    """Of more than a thousand quarantined versions the oldest is forgotten."""
    after = with_quarantine(state, [str(each) for each in range(100, 1_100)], "r", 9)
    assert len(after.quarantined) == 1_000
    assert "0" not in after.quarantined
