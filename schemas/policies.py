"""Policies: how the evidence of an experiment is shown, and how it turns into action."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.event import Contract
from schemas.metrics import DAY_MS
from schemas.names import Count, DurationMs, Key

HOUR_MS = 60 * 60 * 1_000
MAX_LOOKS = 100

Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class RampEvidence(StrEnum):
    """What a stage asks before the next.

    `stable`: no evidence of harm; `positive`: evidence that harm stays within the margin.
    """

    STABLE = "stable"
    POSITIVE = "positive"


class RampStage(Contract):
    """Traffic share of every non-control variant while the stage lasts, and what ends it."""

    share: Share
    min_duration_ms: DurationMs
    min_units: Count = 1_000
    """Newly exposed units per variant in this stage."""
    requires: RampEvidence = RampEvidence.POSITIVE


DEFAULT_RAMP = (
    RampStage(share=0.10, min_duration_ms=DAY_MS, requires=RampEvidence.STABLE),
    RampStage(share=0.25, min_duration_ms=2 * DAY_MS),
    RampStage(share=0.50, min_duration_ms=3 * DAY_MS),
)


class Method(StrEnum):
    """How comparisons are shown. Guardrails, ramp and approval rest on always-valid evidence with each.

    `always_valid`: may be looked at at any moment; `fixed_horizon`: means something at `planned_units`, at
    one look; `group_sequential`: at `looks` evenly spaced looks on the way to `planned_units`; `bayesian`:
    chances and expected losses, not protected against continuous looking.
    """

    ALWAYS_VALID = "always_valid"
    FIXED_HORIZON = "fixed_horizon"
    GROUP_SEQUENTIAL = "group_sequential"
    BAYESIAN = "bayesian"


PLANNED_METHODS = frozenset({Method.FIXED_HORIZON, Method.GROUP_SEQUENTIAL})


class Spending(StrEnum):
    """How a group-sequential plan spends its error rate: hardly any at first, or about evenly."""

    OBRIEN_FLEMING = "obrien_fleming"
    POCOCK = "pocock"


class Correction(StrEnum):
    """What holds for all goals over all variants together: family-wise error, or the false discovery rate."""

    NONE = "none"
    HOLM = "holm"
    BENJAMINI_HOCHBERG = "benjamini_hochberg"


class GuardrailEvidence(StrEnum):
    """What a rollback asks beyond an estimate that is worse than the margin.

    `harm`: that no harm is excluded; `margin`: that harm within the margin is excluded as well.
    """

    HARM = "harm"
    MARGIN = "margin"


class EarlyStop(StrEnum):
    """What is advised when a group-sequential boundary of the first goal is crossed.

    `stop`: end the experiment, whichever way; `promote`: a variant that is better is promoted, else stop.
    """

    NEVER = "never"
    STOP = "stop"
    PROMOTE = "promote"


class Approval(Contract):
    """Promotes a variant whose first goal is better by `min_lift` or more, proved better at any look, while
    no guardrail shows harm. The ramp then no longer promotes by itself."""

    min_lift: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.02
    """Of the relative estimate."""
    min_duration_ms: DurationMs = 3 * DAY_MS
    """Of event time since the experiment began."""
    min_units: Count = 1_000
    """Per variant with traffic."""


class BanditAlgorithm(StrEnum):
    """How what was learnt becomes weights: chance to be best, best so far, highest upper bound."""

    THOMPSON = "thompson"
    EPSILON_GREEDY = "epsilon_greedy"
    UCB1 = "ucb1"


class Bandit(Contract):
    """How a bandit's weights follow its results. Rewards should come well within `interval_ms`: a variant
    whose units are fresh looks worse than it is."""

    algorithm: BanditAlgorithm = BanditAlgorithm.THOMPSON
    metric: Key | None = None
    """What is earned: a proportion, mean or count; the first goal when left out, else the first metric."""
    interval_ms: Annotated[DurationMs, Field(ge=1)] = HOUR_MS
    """The least time between two changes of the weights."""
    floor: Annotated[float, Field(ge=0.001, le=0.5, allow_inf_nan=False)] = 0.01
    """The least share of any variant."""
    epsilon: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    """Of `epsilon_greedy`: the part of the units that is spread evenly."""


class Policy(Contract):
    """How evidence is shown and turns into action."""

    alpha: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.05
    tuned_units: Annotated[int, Field(ge=1)] = 5_000
    """The number of units, all arms together, at which the always-valid interval is tightest."""
    burn_in_units: Annotated[int, Field(ge=2)] = 100
    """Units per variant below which there is no evidence."""
    method: Method = Method.ALWAYS_VALID
    planned_units: Annotated[int, Field(ge=2)] | None = None
    """Units of all variants together at which the experiment is planned to end: what `fixed_horizon` and
    `group_sequential` are valid for."""
    looks: Annotated[int, Field(ge=1, le=MAX_LOOKS)] = 5
    """Of `group_sequential`: how often one looks on the way to `planned_units`."""
    spending: Spending = Spending.OBRIEN_FLEMING
    correction: Correction = Correction.NONE
    """Over goals and variants. Guardrails are never corrected: missing a harm is the costly error."""
    guardrail_evidence: GuardrailEvidence = GuardrailEvidence.HARM
    approval: Approval | None = None
    early_stop: EarlyStop = EarlyStop.NEVER
    bandit: Bandit | None = None
    automatic_rollback: bool = True
    automatic_ramp: bool = True
    ramp: Annotated[tuple[RampStage, ...], Field(strict=False, max_length=20)] = DEFAULT_RAMP

    @model_validator(mode="after")
    def _planned(self) -> Self:
        if self.method in PLANNED_METHODS and self.planned_units is None:
            raise ValueError(f"planned_units: {self.method} needs the number of units that it is planned for")
        if self.early_stop is not EarlyStop.NEVER and self.method is not Method.GROUP_SEQUENTIAL:
            raise ValueError("early_stop: only the looks of method `group_sequential` can end an experiment")
        return self
