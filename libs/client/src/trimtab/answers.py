"""What the gateway's answer to a batch says about each event of it."""

import json
from dataclasses import dataclass
from typing import Any

REFUSED_WHOLE = frozenset({400, 413, 422})
"""The batch is not understood, or too large. One event may be to blame, and fewer at a time may pass; alone
it never will."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of each event, by its index in the batch: every index is in exactly one of the three."""

    accepted: tuple[int, ...] = ()
    rejected: tuple[tuple[int, str], ...] = ()
    """Index and what is wrong with the event."""
    retry: tuple[int, ...] = ()
    """To be sent again, with the same ids."""
    error: str = ""
    retry_after_ms: float | None = None
    """How long the gateway asks to wait."""
    split: bool = False
    """True: what is to be sent again passes in smaller batches, or not at all."""


def all_again(count: int, error: str, retry_after_ms: float | None = None) -> Answer:
    """Return the answer that says nothing about any event: all must be sent again."""
    return Answer(retry=tuple(range(count)), error=error, retry_after_ms=retry_after_ms)


def retry_after_ms(header: str | None) -> float | None:
    """Return how long a Retry-After header asks to wait; None where it does not say so in seconds."""
    return float(header) * 1_000 if header and header.isdecimal() else None


def read_answer(status: int, body: bytes, retry_after: str | None, count: int) -> Answer:
    """Return the outcome of a batch of `count` events. Raises nothing.

    An answer that contradicts itself counts as no answer: the ids make a repetition harmless.
    """
    wait_ms = retry_after_ms(retry_after)
    if status in (200, 202, 422, 503):
        try:
            return _per_item(json.loads(body), status, wait_ms, count)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            pass  # a proxy's page, for one: treated by its status alone
    if status in REFUSED_WHOLE:
        problem = f"the gateway refused the batch with {status}: {body[:200].decode(errors='replace')}"
        if count > 1:
            return Answer(retry=tuple(range(count)), error=problem, split=True)
        return Answer(rejected=((0, problem),), error=problem)
    return all_again(count, f"the gateway answered {status}", wait_ms)


def _per_item(document: Any, status: int, wait_ms: float | None, count: int) -> Answer:
    rejected = {
        int(each["index"]): f"{each.get('field', '')}: {each.get('problem', '')}"
        for each in document["rejected"]
    }
    retry = {int(each) for each in document.get("retry", ())}
    accepted = [index for index in range(count) if index not in rejected and index not in retry]
    known = set(range(count))
    if int(document["accepted"]) != len(accepted) or not (rejected.keys() <= known and retry <= known):
        raise ValueError("the numbers do not add up")
    if rejected.keys() & retry:
        raise ValueError("an event is both rejected and to be sent again")
    return Answer(
        accepted=tuple(accepted),
        rejected=tuple(sorted(rejected.items())),
        retry=tuple(sorted(retry)),
        error=_what_went_wrong(status, rejected, retry),
        retry_after_ms=wait_ms,
    )


def _what_went_wrong(status: int, rejected: dict[int, str], retry: set[int]) -> str:
    if retry:
        return f"the gateway answered {status}: {len(retry)} events are to be sent again"
    if rejected:
        return f"{len(rejected)} events rejected, the first for {rejected[min(rejected)]}"
    return ""
