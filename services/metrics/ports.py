"""What the judge needs from outside."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from schemas.experiments import Experiment
from services.metrics.domain.cases import Case, Judgement


class DefinitionStore(Protocol):
    """Where the judge keeps what it heard on `experiments`."""

    async def keep(self, experiment: Experiment) -> None:
        """Remember a definition unless one with the same or a higher revision is known. Raises Retryable."""


class CaseStore(Protocol):
    """Sums, definitions and memory, and the one place where judgements are settled."""

    async def due(self, *, judged_before_ms: int, limit: int) -> Sequence[str]:
        """Return experiments with units whose sums or definition changed since they were last judged, which
        was before that time, and those that are to be judged again by now; those that wait longest first.
        Raises Retryable."""

    async def settle(self, experiment_id: str, decide: Callable[[Case], Judgement]) -> None:
        """Read the case at one moment, decide, and write memory and events, in one transaction that excludes
        every other judge. Does nothing when another judge was faster.

        Raises Retryable, and Refused when the bus does not take what was decided: nothing is written then."""


class LogEnds(Protocol):
    """Where the log of exposures ends."""

    async def __call__(self) -> Mapping[str, int]:
        """Return, for every partition, `topic-partition` to the offset that its next record will get, as it
        was at some moment after the call. Raises Retryable."""
