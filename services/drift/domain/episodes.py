"""Episodes: opened once, told once, closed with hysteresis; ids derived from their beginning."""

from dataclasses import dataclass

from libs.common.ids import derived_id
from schemas.health import Alert, AlertState, Degradation, DegradationCause, Severity
from services.drift.domain.journal import Episode, Journal
from services.drift.domain.policy import JudgePolicy

SEVERITIES = {DegradationCause.DRIFT: Severity.HIGH, DegradationCause.PERFORMANCE: Severity.CRITICAL}


@dataclass(frozen=True, slots=True)
class Sign:
    """What one window says about one cause."""

    cause: DegradationCause
    bad: bool
    well: bool
    """Not bad, and far enough from bad that the episode may end."""
    since_ms: int
    title: str
    detail: str
    silent: bool = False
    """Too little was known: it counts neither for an episode nor against it."""
    features: tuple[str, ...] = ()
    """That it is about."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a version is to its model now."""

    champion: bool
    serving: bool
    """Champion, challenger, or of a model that nobody registered."""


def follow(journal: Journal, sign: Sign, policy: JudgePolicy, now_ms: int) -> list[Alert]:
    """Open, keep or close the episode that `sign` is about, and return what people are to be told."""
    episode = journal.episode(sign.cause)
    if episode is None:
        return _open(journal, sign, now_ms) if sign.bad else []
    episode.features = tuple(sorted({*episode.features, *sign.features}))
    if sign.silent:
        return []
    episode.calm = episode.calm + 1 if sign.well else 0
    if episode.calm < policy.persist_of:
        return []
    journal.episodes.remove(episode)
    detail = f"calm for {episode.calm} windows: {sign.detail}"
    return [_alert(journal, episode, AlertState.RESOLVED, detail=detail, now_ms=now_ms)]


def retire(journal: Journal, now_ms: int) -> list[Alert]:
    """Close every episode of a version that no longer serves."""
    closed, journal.episodes = journal.episodes, []
    detail = f"version {journal.key.version} no longer serves"
    return [_alert(journal, each, AlertState.RESOLVED, detail=detail, now_ms=now_ms) for each in closed]


def degradations(
    journal: Journal, standing: Standing, policy: JudgePolicy, offsets: dict[str, int], now_ms: int
) -> list[Degradation]:
    """Return the degradations that the retrainer has not heard of: one per episode, of the champion only."""
    if not standing.champion:
        return []
    due = [
        each
        for each in journal.episodes
        if not each.told and (each.cause is DegradationCause.PERFORMANCE or policy.drift_degrades)
    ]
    for each in due:
        each.told = True
    return [_degradation(journal, each, offsets, now_ms) for each in due]


def _open(journal: Journal, sign: Sign, now_ms: int) -> list[Alert]:
    alert_id = derived_id("drift-episode", *journal.key, sign.cause, sign.since_ms, journal.judged_until_ms)
    episode = Episode(sign.cause, alert_id, now_ms, sign.since_ms, sign.title, features=sign.features)
    journal.episodes.append(episode)
    return [_alert(journal, episode, AlertState.OPENED, detail=sign.detail, now_ms=now_ms)]


def _alert(journal: Journal, episode: Episode, state: AlertState, *, detail: str, now_ms: int) -> Alert:
    return Alert(
        alert_id=episode.alert_id,
        subject=journal.key.model,
        cause=episode.cause.value,
        severity=SEVERITIES[episode.cause],
        state=state,
        title=episode.title[:256],
        detail=detail[:2_000],
        source="drift",
        opened_at_ms=episode.opened_at_ms,
        changed_at_ms=now_ms,
    )


def _degradation(journal: Journal, episode: Episode, offsets: dict[str, int], now_ms: int) -> Degradation:
    performance = journal.performance
    evidence = {
        "drifted_features": float(max((len(each.drifted) for each in journal.recent), default=0)),
        "labelled": float(performance.labelled),
        "p_value": performance.p_value,
        "level": performance.level,
    }
    if performance.score is not None and performance.reference_score is not None:
        evidence |= {"score": performance.score, "reference_score": performance.reference_score}
    return Degradation(
        degradation_id=derived_id("degradation", episode.alert_id),
        model=journal.key.model,
        version=journal.key.version,
        cause=episode.cause,
        occurred_at_ms=now_ms,
        since_ms=episode.since_ms,
        reason=(performance.reason if episode.cause is DegradationCause.PERFORMANCE else episode.title),
        evidence=evidence,
        offsets=offsets,
    )
