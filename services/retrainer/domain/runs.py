"""One retraining from request to end, and the steps that it may take."""

from dataclasses import dataclass, replace
from types import MappingProxyType

from libs.common.errors import Conflict, TrimtabError
from libs.common.ids import derived_id
from schemas.health import Degradation
from schemas.names import MAX_TEXT_CHARS
from schemas.versions import Retraining, RetrainingCause, RetrainingState

_S = RetrainingState

FINAL = frozenset({_S.REGISTERED, _S.REFUSED, _S.REJECTED, _S.FAILED, _S.PLANNED})
OPEN = frozenset(_S) - FINAL
TRAINED = frozenset({_S.REGISTERED, _S.REJECTED, _S.FAILED})
"""Ends that cost a training and so start the cooldown; a refusal costs nothing."""

_NEXT = MappingProxyType(
    {
        _S.REQUESTED: frozenset({_S.COLLECTING, _S.REFUSED, _S.FAILED}),
        _S.COLLECTING: frozenset({_S.TRAINING, _S.REFUSED, _S.FAILED}),
        # Back to training: the files of a finished training were lost with the machine that held them.
        _S.TRAINING: frozenset({_S.VALIDATING, _S.REFUSED, _S.FAILED}),
        _S.VALIDATING: frozenset({_S.TRAINING, _S.REGISTERED, _S.REJECTED, _S.FAILED}),
    }
)


class Crashed(TrimtabError):
    """A child process died or took too long: the same order may succeed once more, but not for ever."""


@dataclass(frozen=True, slots=True)
class Run:
    """A retraining as it stands: its latest event, and when and how often to try the next step."""

    event: Retraining
    created_at_ms: int
    """When it was asked for, or the end of its wait: look-back and collecting deadline count from here."""
    why: str
    """The reason that the request gave; each event has its own."""
    due_at_ms: int
    """Not to be touched before: the pause between polls and between attempts."""
    attempts: int = 0
    """Of the present step that failed."""
    until_ms: int | None = None
    """The end of the examples' window, fixed when training begins, so that a repetition sees the same."""
    champion: str | None = None
    """The version in charge when it was asked for; of a retry, when the degradation was heard."""

    @property
    def id(self) -> str:
        """The retraining's id."""
        return self.event.retraining_id

    @property
    def model(self) -> str:
        """The model that is retrained."""
        return self.event.model

    @property
    def state(self) -> RetrainingState:
        """Where it is in its life."""
        return self.event.state

    def waits(self, now_ms: int) -> bool:
        """Return True when it has not begun and is not to begin yet."""
        return self.state is _S.REQUESTED and self.due_at_ms > now_ms

    def outlived_by(self, champion: str | None) -> bool:
        """Return True when it answers a degradation of a version that is no longer in charge."""
        caused = self.event.cause is RetrainingCause.DEGRADATION
        return caused and self.champion is not None and self.champion != champion

    def for_cause(self, cause_id: str | None) -> "Run":
        """Return the same run, which stands for this degradation (too)."""
        return replace(self, event=self.event.model_copy(update={"cause_id": cause_id}))

    def moved(self, state: RetrainingState, reason: str, now_ms: int, **details: object) -> "Run":
        """Return the run in its next state, due at once. `details` are fields of the event.

        Raises Conflict when the step is not legal.
        """
        if state not in _NEXT.get(self.state, frozenset()):
            raise Conflict(f"retraining {self.id} is {self.state.value}: it cannot become {state.value}")
        changes = {"state": state, "reason": clipped(reason), "occurred_at_ms": now_ms, **details}
        event = Retraining.model_validate({**self.event.model_dump(), **changes})
        until_ms = now_ms if state is _S.TRAINING and self.until_ms is None else self.until_ms
        return replace(self, event=event, due_at_ms=now_ms, attempts=0, until_ms=until_ms)

    def delayed(self, until_ms: int, *, failed: bool) -> "Run":
        """Return the same run, due later; `failed` counts an attempt."""
        return replace(self, due_at_ms=until_ms, attempts=self.attempts + int(failed))


def clipped(text: str) -> str:
    """Return the text, shortened to what an event may carry."""
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def retraining_id(degradation_id: str, retry: int = 0) -> str:
    """Return the id of a degradation's retraining: 0 is the first one, 1 its first retry, and so on."""
    return derived_id("retraining", degradation_id, *([retry] if retry else []))


def retry_of(original: Run, number: int, *, reason: str, now_ms: int, due_at_ms: int) -> Run:
    """Return a retry of a degradation's first retraining: it asks for the same, and waits until it is due."""
    event = Retraining(
        retraining_id=retraining_id(original.event.cause_id or "", number),
        model=original.model,
        state=_S.REQUESTED,
        cause=original.event.cause,
        cause_id=original.event.cause_id,
        since_ms=original.event.since_ms,
        requested_by=original.event.requested_by,
        occurred_at_ms=now_ms,
        reason=reason,
    )
    return Run(event, due_at_ms, original.why, due_at_ms, champion=original.champion)


def request_of(degradation: Degradation, now_ms: int) -> Retraining:
    """Return the retraining that a degradation asks for; the same degradation asks for the same one."""
    return Retraining(
        retraining_id=retraining_id(degradation.degradation_id),
        model=degradation.model,
        state=_S.REQUESTED,
        cause=RetrainingCause.DEGRADATION,
        cause_id=degradation.degradation_id,
        since_ms=degradation.since_ms,
        requested_by="retrainer",
        occurred_at_ms=now_ms,
        reason=degradation.reason,
    )
