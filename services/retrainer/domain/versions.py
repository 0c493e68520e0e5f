"""Who is in charge of a model: every change of a ModelState, pure, and the log rows that it means."""

from collections.abc import Iterable
from dataclasses import dataclass

from libs.common.errors import Refused
from schemas.versions import ModelState, ModelVersion, Registration, VersionRole
from services.retrainer.domain.runs import clipped

MAX_QUARANTINED = 1_000


@dataclass(frozen=True, slots=True)
class VersionChange:
    """One row of the append-only log: from then on, this version was this."""

    version: str
    became: str
    """`champion`, `challenger`, `quarantined` or `retired` (it lost its role)."""
    body: ModelVersion | None


def registered(
    state: ModelState | None, registration: Registration, version: ModelVersion, now_ms: int
) -> ModelState:
    """Return the state after a person put `version` under the loop's care.

    A champion replaces the champion, and its quarantine is lifted, since a person says so.
    Raises Refused for a challenger that is quarantined, is the champion already, or has no champion to meet.
    """
    reason = f"registered as {registration.role.value} by {registration.requested_by}: {registration.reason}"
    if registration.role is VersionRole.CHAMPION:
        return with_champion(state, registration.model, version, reason=reason, now_ms=now_ms)
    name = f"version {version.version} of {registration.model}"
    if state is None or state.champion is None:
        raise Refused(
            f"{name} cannot be a challenger: there is no champion", next_step="register a champion first"
        )
    if version.version in state.quarantined:
        raise Refused(
            f"{name} is quarantined after a rollback", next_step="register it as champion to lift that"
        )
    if version.version == state.champion.version:
        raise Refused(f"{name} is the champion already", field="version")
    return with_challenger(state, registration.model, version, reason=reason, now_ms=now_ms)


def with_champion(
    state: ModelState | None, model: str, version: ModelVersion, *, reason: str, now_ms: int
) -> ModelState:
    """Return the state with this version in charge: no challenger if it was that one, no quarantine on it."""
    before = state or _empty(model, now_ms)
    challenger = before.challenger
    if challenger is not None and challenger.version == version.version:
        challenger = None
    quarantined = tuple(each for each in before.quarantined if each != version.version)
    return _changed(before, reason, now_ms, champion=version, challenger=challenger, quarantined=quarantined)


def with_challenger(
    state: ModelState | None, model: str, version: ModelVersion, *, reason: str, now_ms: int
) -> ModelState:
    """Return the state with this version as the one that wants the champion's place."""
    return _changed(state or _empty(model, now_ms), reason, now_ms, challenger=version)


def without_challenger(state: ModelState, versions: Iterable[str], reason: str, now_ms: int) -> ModelState:
    """Return the state without its challenger if that is one of `versions`; else the state as it is."""
    if state.challenger is None or state.challenger.version not in set(versions):
        return state
    return _changed(state, reason, now_ms, challenger=None)


def with_quarantine(state: ModelState, versions: Iterable[str], reason: str, now_ms: int) -> ModelState:
    """Return the state with these versions in quarantine and none of them challenger.

    The oldest of more than 1,000 are forgotten. A state in which nothing changes is returned as it is.
    """
    names = tuple(dict.fromkeys(versions))
    fresh = tuple(each for each in names if each not in state.quarantined)
    after = without_challenger(state, names, reason, now_ms)
    if not fresh:
        return after
    quarantined = (*state.quarantined, *fresh)[-MAX_QUARANTINED:]
    return _changed(state, reason, now_ms, challenger=after.challenger, quarantined=quarantined)


def changes(before: ModelState | None, after: ModelState) -> tuple[VersionChange, ...]:
    """Return the log rows for the step from one state to the next."""
    rows = []
    for role in (VersionRole.CHAMPION, VersionRole.CHALLENGER):
        old: ModelVersion | None = getattr(before, role.value, None)
        new: ModelVersion | None = getattr(after, role.value)
        if new is not None and new != old:
            rows.append(VersionChange(new.version, role.value, new))
        if old is not None and not _holds_a_role(after, old.version):
            rows.append(VersionChange(old.version, "retired", old))
    known = set(before.quarantined) if before else set()
    rows += [VersionChange(each, "quarantined", None) for each in after.quarantined if each not in known]
    return tuple(rows)


def _holds_a_role(state: ModelState, version: str) -> bool:
    return any(each is not None and each.version == version for each in (state.champion, state.challenger))


def _empty(model: str, now_ms: int) -> ModelState:
    # Never published: the first change makes revision 1 of what would be 0.
    return ModelState.model_construct(
        model=model,
        revision=0,
        champion=None,
        challenger=None,
        quarantined=(),
        updated_at_ms=now_ms,
        reason="",
    )


def _changed(state: ModelState, reason: str, now_ms: int, **fields: object) -> ModelState:
    update = {"revision": state.revision + 1, "reason": clipped(reason), "updated_at_ms": now_ms, **fields}
    return state.model_copy(update=update)
