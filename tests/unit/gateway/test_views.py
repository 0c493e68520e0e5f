"""The views show the latest of every state and the last of every fact, whatever the order of arrival."""

from schemas.experiments import Experiment, ExperimentState, Variant, Verdict, VerdictKind
from schemas.health import Alert, AlertState, Severity
from services.gateway.domain.live import Live
from services.gateway.domain.views import MAX_FACTS_PER_SUBJECT, Views


def experiment(revision: int, state: ExperimentState = ExperimentState.RUNNING) -> Experiment:
    return Experiment(
        experiment_id="e",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        state=state,
        revision=revision,
        stage_started_at_ms=1,
        created_at_ms=1,
        updated_at_ms=revision,
        changed_by="test",
        reason="",
    )


def verdict(number: int) -> Verdict:
    return Verdict(
        verdict_id=f"v{number}",
        experiment_id="e",
        revision=1,
        stage=0,
        kind=VerdictKind.HOLD,
        variant="b",
        occurred_at_ms=number,
        reason="",
    )


def alert(state: AlertState, changed_at_ms: int, subject: str = "e") -> Alert:
    return Alert(
        alert_id=f"a-{subject}",
        subject=subject,
        cause="drift",
        severity=Severity.HIGH,
        state=state,
        title="",
        detail="",
        source="drift",
        opened_at_ms=1,
        changed_at_ms=changed_at_ms,
    )


def test_an_older_revision_changes_nothing() -> None:
    """A late, older record of a state is ignored, and a repeated one is no change."""
    views = Views()
    assert views.apply(experiment(2))
    assert not views.apply(experiment(1))
    assert not views.apply(experiment(2))
    assert views.experiments["e"].revision == 2
    assert views.apply(experiment(3, ExperimentState.ROLLED_BACK))
    assert views.experiments["e"].state is ExperimentState.ROLLED_BACK


def test_a_repeated_verdict_is_shown_once() -> None:
    """The same verdict twice is one verdict."""
    views = Views()
    assert views.apply(verdict(1))
    assert not views.apply(verdict(1))
    assert len(views.verdicts("e")) == 1


def test_facts_are_bounded() -> None:
    """Of a subject's facts the newest are kept, up to the limit."""
    views = Views()
    for number in range(MAX_FACTS_PER_SUBJECT + 5):
        views.apply(verdict(number))
    kept = views.verdicts("e")
    assert len(kept) == MAX_FACTS_PER_SUBJECT
    assert kept[0].verdict_id == "v5"


def test_alerts_filter_by_state_and_subject() -> None:
    """A filter that is not given lets everything through."""
    views = Views()
    views.apply(alert(AlertState.OPENED, 1))
    views.apply(alert(AlertState.RESOLVED, 2))
    views.apply(alert(AlertState.OPENED, 3, subject="f"))
    assert [each.subject for each in views.find_alerts(state=None, subject=None)] == ["f", "e"]
    assert [each.subject for each in views.find_alerts(state=AlertState.OPENED, subject=None)] == ["f"]
    assert list(views.find_alerts(state=AlertState.OPENED, subject="e")) == []


def test_a_slow_subscriber_is_marked_and_does_not_grow() -> None:
    """Past its limit a subscriber is marked as lagged; others go on."""
    live = Live(max_subscribers=2, queue_limit=3)
    with live.subscribe(frozenset()) as slow, live.subscribe(frozenset({"alert"})) as other:
        for number in range(10):
            live.tell(verdict(number))
        live.tell(alert(AlertState.OPENED, 1))
        assert slow.lagged
        assert slow.queue.qsize() == 3
        assert not other.lagged
        assert other.queue.qsize() == 1
    assert len(live) == 0
