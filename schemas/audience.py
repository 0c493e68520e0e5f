"""Who takes part in an experiment: targeting, exclusion groups, holdouts, forced variants, and the hash."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from schemas.event import Contract
from schemas.names import Key, Probability, UnitId

MAX_FORCED = 1_000


class Hashing(StrEnum):
    """How a unit's place in [0, 1) is found. It never changes in an experiment's life."""

    TRIMTAB = "trimtab"
    """53 bits of SHA-256: the default."""
    GROWTHBOOK_V2 = "growthbook_v2"
    """GrowthBook's hash version 2, of 10,000 places: its SDKs evaluate the experiment by themselves."""


class Exclusion(Contract):
    """A share [start, end) of an exclusion group: experiments with disjoint shares of one group meet no
    unit in common."""

    group: Key
    start: Probability
    end: Probability

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.start < self.end:
            raise ValueError(f"end: must lie above start, {self.start}")
        return self


class Holdout(Contract):
    """A share of all units that meets none of the experiments that name this holdout."""

    name: Key
    share: Probability


class Forced(Contract):
    """A unit that always gets this variant and never counts: for testing."""

    unit_id: UnitId
    variant: Key


Condition = Annotated[dict[str, JsonValue], Field(max_length=100)]
"""A condition on attributes in GrowthBook's syntax, which is MongoDB's; empty: everybody."""
ForcedUnits = Annotated[tuple[Forced, ...], Field(strict=False, max_length=MAX_FORCED)]
