"""Answers that are still true: what has not changed since the last judgement is not worked out again."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

AnswerT = TypeVar("AnswerT")

MAX_EXPERIMENTS = 1_000


class Known:
    """The answers of one experiment by name, each with what it depends on."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: dict[str, tuple[object, Any]] = {}

    def answer(self, name: str, on: object, work_out: Callable[[], AnswerT]) -> AnswerT:
        """Return the answer of that name while what it depends `on` is equal to last time's; else a new one.

        Names are those of one definition's questions: there are only so many.
        """
        before = self._answers.get(name)
        if before is not None and (before[0] is on or before[0] == on):
            found: AnswerT = before[1]
            return found
        fresh = work_out()
        self._answers[name] = (on, fresh)
        return fresh


class KnownByExperiment:
    """The answers of the experiments that were judged last, at most `limit` of them."""

    def __init__(self, limit: int = MAX_EXPERIMENTS) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[int, Known]] = OrderedDict()

    def of(self, experiment_id: str, revision: int) -> Known:
        """Return what is known of an experiment; nothing of a revision that is new."""
        before = self._known.pop(experiment_id, None)
        known = before[1] if before is not None and before[0] == revision else Known()
        self._known[experiment_id] = (revision, known)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)
        return known

    def __len__(self) -> int:
        """Return of how many experiments answers are kept."""
        return len(self._known)
