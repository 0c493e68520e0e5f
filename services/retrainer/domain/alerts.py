"""Episodes for people: what the retrainer could not do, and that it is done after all."""

from dataclasses import dataclass

from libs.common.ids import derived_id
from schemas.health import Alert, AlertState, Severity
from schemas.names import MAX_ID_CHARS
from services.retrainer.domain.runs import clipped

SOURCE = "retrainer"
RETRAINING, GIVEN_UP, REGISTRATION, REGISTRY = "retraining", "given-up", "registration", "registry"
"""The causes: a retraining came to nothing; so did all for one degradation; a registration was refused; an
alias could not be set."""

_TITLES = {
    RETRAINING: "a retraining of {model} came to nothing",
    GIVEN_UP: "{model} stays degraded: retraining was given up",
    REGISTRATION: "a registration for {model} was refused",
    REGISTRY: "the registry does not hold a version of {model} that is in charge",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What a person should know."""

    cause: str
    severity: Severity
    detail: str


def raised(problem: Problem, model: str, open_alert: Alert | None, now_ms: int) -> Alert:
    """Return the episode as it stands: a new one, or the open one with the news."""
    if open_alert is not None:
        news = {"detail": clipped(problem.detail), "severity": problem.severity, "changed_at_ms": now_ms}
        return open_alert.model_copy(update=news)
    return Alert(
        alert_id=derived_id("alert", SOURCE, model, problem.cause, now_ms),
        subject=model,
        cause=problem.cause,
        severity=problem.severity,
        state=AlertState.OPENED,
        title=_TITLES[problem.cause].format(model=model)[:MAX_ID_CHARS],
        detail=clipped(problem.detail),
        source=SOURCE,
        opened_at_ms=now_ms,
        changed_at_ms=now_ms,
    )


def resolved(alert: Alert, detail: str, now_ms: int) -> Alert:
    """Return the episode at its end."""
    return alert.model_copy(
        update={"state": AlertState.RESOLVED, "detail": clipped(detail), "changed_at_ms": now_ms}
    )
