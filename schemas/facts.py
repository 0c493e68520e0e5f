"""Facts that production services emit, keyed by unit: what happened, once and for all."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.event import Contract
from schemas.names import Attributes, Features, Id, Key, Label, Name, Probability, TimeMs, UnitId, Value


class Fact(Contract):
    """Something that happened to one unit at one time. `event_id` makes a repetition recognisable."""

    event_id: Id
    occurred_at_ms: TimeMs
    unit_id: UnitId


class Exposure(Fact):
    """A unit met a variant of an experiment. The first one wins."""

    type: Literal["exposure"] = "exposure"
    experiment_id: Key
    variant: Key
    revision: Annotated[int, Field(ge=0)] = 0
    """The experiment's revision that the assignment followed; 0 when unknown."""
    attributes: Attributes = Field(default_factory=dict)
    propensity: Probability | None = None
    """The probability with which the variant was chosen, where it was drawn (bandits)."""


class Prediction(Fact):
    """One answer of a model. Its `event_id` is what feedback refers to."""

    type: Literal["prediction"] = "prediction"
    model: Key
    model_version: Key
    features: Features
    output: Label
    confidence: Probability | None = None
    latency_ms: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None


class Conversion(Fact):
    """A unit did something that is counted."""

    type: Literal["conversion"] = "conversion"
    name: Name
    value: Value = 1.0
    attributes: Attributes = Field(default_factory=dict)


class Feedback(Fact):
    """The truth (`label`) or an opinion (`rating`) about one prediction."""

    type: Literal["feedback"] = "feedback"
    prediction_id: Id
    model: Key
    label: Label | None = None
    rating: Probability | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.label is None and self.rating is None:
            raise ValueError("feedback needs a label or a rating")
        return self


AnyFact = Annotated[Exposure | Prediction | Conversion | Feedback, Field(discriminator="type")]
