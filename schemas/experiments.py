"""Experiments: their definition, their life, and what is advised and decided about them."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from schemas.audience import Condition, Exclusion, ForcedUnits, Holdout
from schemas.audience import Forced as Forced
from schemas.audience import Hashing as Hashing
from schemas.designs import check_bandit, check_factors
from schemas.event import Contract
from schemas.metrics import DAY_MS as DAY_MS
from schemas.metrics import Direction as Direction
from schemas.metrics import Metric as Metric
from schemas.metrics import MetricKind as MetricKind
from schemas.metrics import MetricRole as MetricRole
from schemas.names import (
    Count,
    Finite,
    Id,
    Key,
    Name,
    Offsets,
    Probability,
    ShortText,
    Text,
    TimeMs,
)
from schemas.policies import Policy as Policy
from schemas.policies import RampEvidence as RampEvidence
from schemas.policies import RampStage as RampStage

MAX_VARIANTS = 50
MAX_METRICS = 50
MAX_BREAKDOWNS = 5
MAX_NAMED = 50
MAX_FACTORS = 8


class ExperimentState(StrEnum):
    """Where an experiment is in its life. Live: `running`, `paused`."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"


LIVE_STATES = frozenset({ExperimentState.RUNNING, ExperimentState.PAUSED})


class ExperimentKind(StrEnum):
    """What an experiment is for."""

    AB = "ab"
    CHAMPION_CHALLENGER = "champion_challenger"
    MULTIVARIATE = "multivariate"
    """Factorial: every variant is one combination of levels of the factors."""
    BANDIT = "bandit"
    """Its weights follow its results; there is no ramp."""
    FLAG = "flag"
    """A feature flag: units get variants, and nothing is measured."""
    SHADOW = "shadow"
    """Everybody gets control; whoever serves also asks the other variants' versions, and shows nobody."""


class Variant(Contract):
    """One arm: its weight among the arms, and the model version and/or payload that it carries."""

    key: Key
    weight: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    model_version: Key | None = None
    payload: JsonValue = None
    levels: Annotated[dict[Key, Key], Field(max_length=MAX_FACTORS)] = Field(default_factory=dict)
    """Of a multivariate experiment: factor to level."""


class Breakdown(Contract):
    """Results apart by the values of an attribute of a unit's first exposure.

    Only the `values` that are named count apart, the others together, and so do units without the attribute.
    `true`, `false` and numbers are matched by their JSON text (`1.5`; a whole number without a point).
    """

    attribute: Name
    values: Annotated[tuple[ShortText, ...], Field(strict=False, min_length=1, max_length=MAX_NAMED)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError("values: every value may occur once")
        return self


class ExperimentDefinition(Contract):
    """What a person (or the loop) asks for; assignment gives it a life."""

    experiment_id: Key
    kind: ExperimentKind = ExperimentKind.AB
    model: Key | None = None
    """The model whose versions compete; needed for `champion_challenger`."""
    variants: Annotated[tuple[Variant, ...], Field(strict=False, min_length=2, max_length=MAX_VARIANTS)]
    control: Key
    metrics: Annotated[tuple[Metric, ...], Field(strict=False, max_length=MAX_METRICS)] = ()
    breakdowns: Annotated[tuple[Breakdown, ...], Field(strict=False, max_length=MAX_BREAKDOWNS)] = ()
    """Stays what it was when the experiment began: units are not broken down again later."""
    policy: Policy = Field(default_factory=Policy)
    coverage: Probability = 1.0
    """Share of all units that take part, where there is no ramp. With a ramp, the stages set it."""
    salt: Key | None = None
    """What the hash is salted with; the experiment's id when left out."""
    hashing: Hashing = Hashing.TRIMTAB
    targeting: Condition = Field(default_factory=dict)
    """Only units whose attributes fulfil it take part."""
    exclusion: Exclusion | None = None
    holdout: Holdout | None = None
    forced: ForcedUnits = ()
    sticky: bool = False
    """Units that were exposed keep their variant when weights change; a bandit's always do."""
    description: Text = ""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        keys = [variant.key for variant in self.variants]
        if len(set(keys)) != len(keys):
            raise ValueError("variants: every key may occur once")
        if self.control not in keys:
            raise ValueError(f"control: {self.control!r} is not the key of a variant")
        stray = next((each.variant for each in self.forced if each.variant not in keys), None)
        if stray is not None:
            raise ValueError(f"forced: {stray!r} is not the key of a variant")
        if len({each.unit_id for each in self.forced}) != len(self.forced):
            raise ValueError("forced: every unit may occur once")
        names = [metric.name for metric in self.metrics]
        if len(set(names)) != len(names):
            raise ValueError("metrics: every name may occur once")
        attributes = [breakdown.attribute for breakdown in self.breakdowns]
        if len(set(attributes)) != len(attributes):
            raise ValueError("breakdowns: every attribute may occur once")
        if sum(variant.weight for variant in self.variants) <= 0:
            raise ValueError("variants: at least one weight must be positive")
        if self.kind is ExperimentKind.CHAMPION_CHALLENGER and self.model is None:
            raise ValueError("model: a champion_challenger experiment names its model")
        check_factors(self.kind is ExperimentKind.MULTIVARIATE, [each.levels for each in self.variants])
        if self.kind is ExperimentKind.BANDIT:
            check_bandit(self.policy, self.metrics, len(self.variants))
        if not self.exposes and self.metrics:
            raise ValueError(f"metrics: nobody is exposed to a {self.kind}, so it can measure nothing")
        return self

    @property
    def exposes(self) -> bool:
        """True when units that take part are exposed and counted."""
        return self.kind not in (ExperimentKind.FLAG, ExperimentKind.SHADOW)

    @property
    def keeps_units(self) -> bool:
        """True when exposed units keep their variant whatever the weights become."""
        return self.sticky or self.kind is ExperimentKind.BANDIT


class Experiment(ExperimentDefinition):
    """An experiment as it stands: the record on the compacted topic `experiments`."""

    type: Literal["experiment"] = "experiment"
    state: ExperimentState
    revision: Annotated[int, Field(ge=1)]
    """Counts every change; a reader ignores an older one."""
    stage: Count = 0
    """Index into `policy.ramp`."""
    stage_started_at_ms: TimeMs
    created_at_ms: TimeMs
    started_at_ms: TimeMs | None = None
    ended_at_ms: TimeMs | None = None
    remembers_since: Annotated[int, Field(ge=1)] = 1
    """Where units are sticky: variants that were given before this revision are forgotten."""
    verified_at_ms: TimeMs | None = None
    """Of a rolled back experiment: when exposures had shown that nobody meets its variants any more."""
    promoted_variant: Key | None = None
    """Of a promoted experiment: the variant that serves everybody from now on."""
    updated_at_ms: TimeMs
    changed_by: ShortText
    reason: Text

    @property
    def live(self) -> bool:
        """True while units may be assigned or judged: running or paused."""
        return self.state in LIVE_STATES

    def variant(self, key: str) -> Variant:
        """Return the variant with this key. Raises KeyError when there is none."""
        for variant in self.variants:
            if variant.key == key:
                return variant
        raise KeyError(key)


class VerdictKind(StrEnum):
    """What metrics advises."""

    HOLD = "hold"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    REALLOCATE = "reallocate"
    """A bandit: give the variants these weights."""
    STOP = "stop"
    """A planned look has answered the question: end it, control serves."""
    VERIFY = "verify"
    """A rollback is in force: exposures have shown no unit in a variant that lost its traffic."""


class Evidence(Contract):
    """One comparison that a verdict rests on. Estimate and interval: absolute, variant minus control."""

    metric: Key
    variant: Key
    control: Key
    units: Count
    control_units: Count
    estimate: Finite
    lower: Finite
    upper: Finite
    relative: Finite | None
    margin: Finite
    alpha: Probability
    method: ShortText


class Verdict(Contract):
    """Metrics' advice on one experiment. Its id is derived: deciding twice is deciding once."""

    type: Literal["verdict"] = "verdict"
    verdict_id: Id
    experiment_id: Key
    revision: Annotated[int, Field(ge=1)]
    stage: Count
    kind: VerdictKind
    variant: Key
    occurred_at_ms: TimeMs
    reason: Text
    evidence: Annotated[tuple[Evidence, ...], Field(strict=False, max_length=MAX_METRICS * 2)] = ()
    weights: Annotated[dict[Key, Probability], Field(max_length=MAX_VARIANTS)] = Field(default_factory=dict)
    """Of a reallocation: the share of each variant, the propensity of units that come from now on."""
    offsets: Offsets = Field(default_factory=dict)


class Rollback(Contract):
    """The decision, carried out: all traffic is back with the safe variant."""

    type: Literal["rollback"] = "rollback"
    rollback_id: Id
    experiment_id: Key
    model: Key | None = None
    variants: Annotated[tuple[Key, ...], Field(strict=False)]
    """The variants that lost their traffic."""
    model_versions: Annotated[tuple[Key, ...], Field(strict=False)] = ()
    """The model versions that they carried: quarantined."""
    safe_variant: Key
    verdict_id: Id | None = None
    occurred_at_ms: TimeMs
    decided_by: ShortText
    reason: Text
