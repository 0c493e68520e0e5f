"""What the gateway needs from outside, besides the bus."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What assignment answered: status, JSON body, and the headers worth passing on."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Assignment(Protocol):
    """The service that owns experiments, spoken to over HTTP."""

    async def forward(
        self, method: str, path: str, *, query: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Pass a request on and return the answer as it is. Raises Retryable when nobody answers."""
