"""What the body of a snapshot is called: by the one catalogue, owner and time that may write it."""

import re
from dataclasses import dataclass

_NAME = re.compile(r".*-e(\d+)-n\d+\.snapshot")


@dataclass(frozen=True, slots=True)
class BodyNames:
    """Names for the bodies of one partition. `schema` and `catalogue` keep databases apart that share a
    place, the epoch keeps owners apart: a zombie never overwrites."""

    schema: str
    catalogue: str
    partition: int

    @property
    def prefix(self) -> str:
        """What all of them begin with, and nobody else's do."""
        return f"{self.schema}-{self.catalogue}-p{self.partition}-e"

    def name(self, epoch: int, number: int) -> str:
        """Return the name of one body."""
        return f"{self.prefix}{epoch}-n{number}.snapshot"


def epoch_of(name: str) -> int | None:
    """Return the epoch in a name, None when it is no body's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None
