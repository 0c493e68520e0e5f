"""A challenger's trial: the experiment in which it meets the champion."""

from libs.common.ids import derived_id
from schemas.experiments import Experiment, ExperimentDefinition, ExperimentKind, Variant
from schemas.names import MAX_KEY_CHARS
from services.assignment.domain.change import challengers
from services.assignment.domain.model_record import ModelRecord, TrialTemplate

CHAMPION = "champion"
CHALLENGER = "challenger"


def trial_id(model: str, version: str) -> str:
    """Return the id of the one trial that a version gets: `<model>-v<version>`, shortened where too long."""
    name = f"{model}-v{version}"
    if len(name) <= MAX_KEY_CHARS:
        return name
    digest = derived_id(model, version)
    return f"{name[: MAX_KEY_CHARS - len(digest) - 1]}-{digest}"


def why_no_trial(record: ModelRecord, *, tried: bool, live_id: str | None) -> str:
    """Return why the model's challenger gets no trial now, as a sentence; "" when it does."""
    challenger = record.challenger
    if challenger is None:
        return "the model has no challenger"
    if challenger in record.quarantined:
        return f"version {challenger} was rolled back: it is not tried again"
    if record.serving is None:
        return "the model has no champion to compare with"
    if challenger == record.serving:
        return f"version {challenger} is the champion already"
    if record.template is None:
        return f"there is no trial template: PUT /v1/models/{record.model}/trial-template"
    if live_id == trial_id(record.model, challenger):
        return f"version {challenger} is in its trial: {live_id}"
    if tried:
        return f"version {challenger} had its trial: {trial_id(record.model, challenger)}"
    if live_id is not None:
        return f"version {challenger} waits until {live_id} has ended"
    return ""


def why_outdated(record: ModelRecord, live: Experiment) -> str:
    """Return why the model's live trial has lost its meaning, as a sentence; "" when it goes on.

    Told from how things stand, not from what has just changed: whoever asks again gets the same answer.
    """
    control = live.variant(live.control).model_version
    if control != record.serving:
        return f"the champion of {record.model} changed from {control} to {record.serving}"
    bad = {each.model_version for each in challengers(live)} & set(record.quarantined)
    if bad:
        names = ", ".join(sorted(version for version in bad if version is not None))
        return f"version {names} of {record.model} was rolled back elsewhere"
    return ""


def trial_of(model: str, champion: str, challenger: str, template: TrialTemplate) -> ExperimentDefinition:
    """Return the definition of the trial: champion (control) and challenger, equal weights."""
    return ExperimentDefinition(
        experiment_id=trial_id(model, challenger),
        kind=ExperimentKind.CHAMPION_CHALLENGER,
        model=model,
        variants=(
            Variant(key=CHAMPION, model_version=champion),
            Variant(key=CHALLENGER, model_version=challenger),
        ),
        control=CHAMPION,
        metrics=template.metrics,
        policy=template.policy,
        hashing=template.hashing,
        description=f"Version {challenger} of {model} against its champion, version {champion}.",
    )
