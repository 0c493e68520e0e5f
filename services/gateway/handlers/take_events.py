"""Take events in: the good ones onto the bus, acknowledged; the bad ones named."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.bus.ports import Message, Producer
from libs.common.clock import Clock
from libs.common.errors import Refused, Retryable
from services.gateway.domain.intake import Problem, sort_batch


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: every index is accepted, rejected, or to be sent again."""

    accepted: int
    rejected: tuple[Problem, ...]
    retry: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TakeEvents:
    """The handler. An accepted event is on all in-sync replicas when it returns."""

    producer: Producer
    clock: Clock
    max_batch: int

    async def __call__(self, events: Sequence[object]) -> Taken:
        """Raises Refused when the batch is longer than `max_batch`."""
        if len(events) > self.max_batch:
            raise Refused(
                f"{len(events)} events in one batch; at most {self.max_batch} are taken",
                field="events",
                next_step="send smaller batches",
            )
        good, problems = sort_batch(events, self.clock.now_ms())
        outcomes = await self.producer.send_all(
            [Message(each.topic, each.unit_id, each.value) for each in good]
        )
        retry: list[int] = []
        for event, outcome in zip(good, outcomes, strict=True):
            if isinstance(outcome, Retryable):
                retry.append(event.index)
            elif isinstance(outcome, Refused):
                problems.append(Problem(event.index, "", outcome.message))
        problems.sort(key=lambda problem: problem.index)
        accepted = len(events) - len(problems) - len(retry)
        return Taken(accepted, tuple(problems), tuple(retry))
