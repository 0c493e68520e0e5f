"""Episodes for people: opened once, resolved once, with hysteresis so that noise does not ring twice."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.ids import derived_id
from libs.statistics.comparisons import Answer
from schemas.experiments import Experiment, ExperimentState
from schemas.health import Alert, AlertState, Severity
from services.metrics.domain.advice import breach_in_words
from services.metrics.domain.evidence import Compared
from services.metrics.domain.leaks import Leaks
from services.metrics.domain.memory import OpenAlert
from services.metrics.domain.ratio import RatioFinding
from services.metrics.domain.totals import ExperimentTotals

SOURCE = "metrics"
LEAK = "leak"
MULTI_VARIANT_RATE = 0.01
"""Opens an alert above this share of units seen in several variants, closes it below half of it."""
MULTI_VARIANT_MIN_UNITS = 100


@dataclass(frozen=True, slots=True)
class Sighting:
    """A condition at this moment. Between `present` and `gone` an episode stays as it is."""

    subject: str
    cause: str
    severity: Severity
    title: str
    detail: str
    present: bool
    gone: bool
    after_end: bool = False
    """The end of the experiment is not the end of it."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """What goes on, how many there were of each, and what is new to tell."""

    open: dict[str, OpenAlert]
    counts: dict[str, int]
    news: tuple[Alert, ...]


def sightings(
    totals: ExperimentTotals,
    compared: tuple[Compared, ...],
    ratio: RatioFinding,
    leaks: Leaks,
    refusal: str | None,
) -> list[Sighting]:
    """Return every condition that may be an alert, present or not. `refusal`: why the bus does not take the
    result, "" when it does, None when it was not offered one."""
    return [
        *(_guardrail(each) for each in compared if each.is_guardrail),
        _ratio(ratio),
        _multi_variant(totals),
        _leak(leaks),
        _refusal(refusal),
    ]


def follow_episodes(
    experiment: Experiment,
    seen: list[Sighting],
    open_before: Mapping[str, OpenAlert],
    counts_before: Mapping[str, int],
    now_ms: int,
) -> Episodes:
    """Open, keep and resolve episodes. Those of an experiment that has ended are resolved, but for those that
    outlive it."""
    running, counts, news = dict(open_before), dict(counts_before), []
    current = {each.subject: each for each in seen}
    for subject, episode in open_before.items():
        condition = current.get(subject)
        if condition is None or condition.gone or not (experiment.live or condition.after_end):
            why = _why_resolved(experiment, condition)
            news.append(_alert(experiment, episode, AlertState.RESOLVED, why, now_ms))
            del running[subject]
    for each in seen:
        watched = experiment.live or each.after_end
        if watched and each.present and each.subject not in running:
            counts[each.subject] = counts.get(each.subject, 0) + 1
            alert_id = derived_id("alert", experiment.experiment_id, each.subject, counts[each.subject])
            episode = OpenAlert(alert_id, each.cause, each.severity, each.title[:256], now_ms)
            running[each.subject] = episode
            news.append(_alert(experiment, episode, AlertState.OPENED, each.detail, now_ms))
    return Episodes(running, counts, tuple(news))


def _why_resolved(experiment: Experiment, condition: Sighting | None) -> str:
    rolled_back = experiment.state is ExperimentState.ROLLED_BACK
    if experiment.live or (rolled_back and condition is not None and condition.after_end):
        return "it no longer holds"
    return f"the experiment is {experiment.state}"


def _alert(experiment: Experiment, episode: OpenAlert, state: AlertState, detail: str, now_ms: int) -> Alert:
    return Alert(
        alert_id=episode.alert_id,
        subject=experiment.experiment_id,
        cause=episode.cause,
        severity=episode.severity,
        state=state,
        title=episode.title,
        detail=detail[:2_000],
        source=SOURCE,
        opened_at_ms=episode.opened_at_ms,
        changed_at_ms=max(now_ms, episode.opened_at_ms),
    )


def _guardrail(each: Compared) -> Sighting:
    return Sighting(
        subject=f"guardrail/{each.metric.name}/{each.variant}",
        cause="guardrail",
        severity=Severity.CRITICAL,
        title=f"{each.variant} breaches the guardrail {each.metric.name}",
        detail=breach_in_words(each) if each.breached else "",
        present=each.breached,
        gone=not (isinstance(each.answer, Answer) and each.answer.harmful),
    )


def _ratio(ratio: RatioFinding) -> Sighting:
    found = ratio.sample_ratio
    mismatch = found is not None and found.mismatch
    detail = ""
    if found is not None and mismatch:
        expected = {key: round(share, 4) for key, share in found.expected.items()}
        detail = f"units {found.observed}, expected shares {expected}, always-valid p {found.p_value:.2g}"
    return Sighting(
        subject="sample-ratio",
        cause="sample-ratio",
        severity=Severity.HIGH,
        title="units do not split as configured",
        detail=detail,
        present=mismatch,
        gone=False,  # the p-value is a running minimum: it does not recover
    )


def _multi_variant(totals: ExperimentTotals) -> Sighting:
    several = totals.multi_variant_units
    units = several + sum(each.units for each in totals.variants.values())
    rate = several / units if units else 0.0
    return Sighting(
        subject="multi-variant-units",
        cause="multi-variant-units",
        severity=Severity.MEDIUM,
        title="units were seen in several variants",
        detail=f"{several} of {units} units ({rate:.2%}); they are left out of the comparison",
        present=units >= MULTI_VARIANT_MIN_UNITS and rate > MULTI_VARIANT_RATE,
        gone=rate < MULTI_VARIANT_RATE / 2,
    )


def _refusal(refusal: str | None) -> Sighting:
    return Sighting(
        subject="result",
        cause="result-refused",
        severity=Severity.HIGH,
        title="the results of this experiment cannot be published",
        detail=f"{refusal}; verdicts and alerts go on. Define fewer variants or metrics",
        present=bool(refusal),
        gone=refusal == "",
    )


def _leak(leaks: Leaks) -> Sighting:
    return Sighting(
        subject=LEAK,
        cause=LEAK,
        severity=Severity.CRITICAL,
        title="units were exposed to a variant that gets no traffic",
        detail=leaks.in_words,
        present=bool(leaks.variants),
        gone=not leaks.variants,
        after_end=True,
    )
