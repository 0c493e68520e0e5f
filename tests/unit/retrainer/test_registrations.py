"""Registrations by people, aliases, and what becomes of trials."""

import pytest

from libs.common.errors import Retryable
from schemas.experiments import (
    Experiment,
    ExperimentKind,
    ExperimentState,
    Rollback,
    Variant,
)
from schemas.health import AlertState, Severity
from schemas.versions import ReferenceProfile, Registration, VersionRole

NOW_MS = 1_700_000_000_000


def registration(
    number: int, version: str, role: VersionRole = VersionRole.CHAMPION, **more: object
) -> Registration:
    """A person's request to register."""
    plain = {
        "registration_id": f"g{number}",
        "model": "m",
        "version": version,
        "role": role,
        "requested_by": "ann",
        "occurred_at_ms": NOW_MS,
        "reason": "good",
    }
    return Registration.model_validate({**plain, **more})


def experiment(state: ExperimentState, version: str = "2", **more: object) -> Experiment:
    """The trial of a version against version 1."""
    plain = {
        "experiment_id": f"m-v{version}",
        "kind": ExperimentKind.CHAMPION_CHALLENGER,
        "model": "m",
        "variants": (
            Variant(key="champion", model_version="1"),
            Variant(key="challenger", model_version=version),
        ),
        "control": "champion",
        "state": state,
        "revision": 3,
        "stage_started_at_ms": NOW_MS,
        "created_at_ms": NOW_MS,
        "started_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
        "changed_by": "metrics",
        "reason": "evidence",
    }
    return Experiment.model_validate({**plain, **more})


def rollback(version: str = "2") -> Rollback:
    """The rollback of that trial."""
    return Rollback(
        rollback_id=f"b{version}",
        experiment_id=f"m-v{version}",
        model="m",
        variants=("challenger",),
        model_versions=(version,),
        safe_variant="champion",
        occurred_at_ms=NOW_MS,
        decided_by="metrics",
        reason="harm",
    )


@pytest.fixture
async def on_trial(retrainer):
    """Version 1 is champion, version 2 challenger."""
    retrainer.registry.versions["m"] = {"1", "2", "3"}
    await retrainer.register.queue(registration(1, "1"))
    await retrainer.register.queue(registration(2, "2", VersionRole.CHALLENGER))
    await retrainer.carry_out()
    return retrainer


async def test_registered_versions_are_published_and_aliased(on_trial) -> None:
    """Both roles are published with their revisions, and the registry's aliases name them."""
    first, second = on_trial.said("models")
    assert (first.revision, first.champion.version, first.challenger) == (1, "1", None)
    assert (second.revision, second.champion.version, second.challenger.version) == (2, "1", "2")
    assert on_trial.registry.aliases == {("m", "champion"): "1", ("m", "challenger"): "2"}


async def test_reference_comes_with_the_registration_and_stays(on_trial) -> None:
    """A reference profile that a registration brings is published, and remembered for the next one."""
    profile = ReferenceProfile(predictions=7, features=())
    await on_trial.register.queue(registration(3, "1", reference=profile))
    await on_trial.register.queue(registration(4, "1"))
    await on_trial.carry_out()
    assert on_trial.model().champion.reference == profile


async def test_repeated_registration_is_nothing_new(on_trial) -> None:
    """The same registration, heard again, publishes nothing."""
    said = len(on_trial.store.published)
    await on_trial.register.queue(registration(1, "1"))
    await on_trial.carry_out()
    assert len(on_trial.store.published) == said


async def test_unknown_version_is_an_alert(on_trial) -> None:
    """A version that the registry does not have opens a low alert that says what to do, no more."""
    said = len(on_trial.said("models"))
    await on_trial.register.queue(registration(5, "99"))
    await on_trial.carry_out()
    alert = on_trial.said("alerts")[-1]
    assert (alert.severity, alert.cause, alert.subject) == (Severity.LOW, "registration", "m")
    assert "no version 99 of m; register the model in MLflow first" in alert.detail
    assert len(on_trial.said("models")) == said
    assert not await on_trial.store.registrations()


async def test_good_registration_resolves_the_alert(on_trial) -> None:
    """The episode of a refused registration ends with the next one that is accepted."""
    await on_trial.register.queue(registration(5, "99"))
    await on_trial.register.queue(registration(6, "3"))
    await on_trial.carry_out()
    assert [each.state for each in on_trial.said("alerts")] == [AlertState.OPENED, AlertState.RESOLVED]
    assert on_trial.model().champion.version == "3"


async def test_quarantined_version_is_no_challenger(on_trial) -> None:
    """A rolled-back version cannot be registered as challenger again."""
    await on_trial.trials.rollback(rollback())
    await on_trial.register.queue(registration(7, "2", VersionRole.CHALLENGER))
    await on_trial.carry_out()
    assert on_trial.model().challenger is None
    assert "quarantined" in on_trial.said("alerts")[-1].detail


async def test_registry_away_loses_nothing(retrainer) -> None:
    """While the registry is away a registration stays queued; when it is back it is carried out."""
    retrainer.registry.away = True
    await retrainer.register.queue(registration(1, "1"))
    with pytest.raises(Retryable):
        await retrainer.carry_out()
    assert not retrainer.said("models")
    retrainer.registry.away = False
    await retrainer.carry_out()
    assert retrainer.model().champion.version == "1"


async def test_alias_of_a_lost_version_is_told(on_trial) -> None:
    """When the registry no longer has the version in charge, people are told, and the rest goes on."""
    on_trial.registry.versions["m"] = {"1", "2"}
    await on_trial.trials.experiment(experiment(ExperimentState.PROMOTED))
    on_trial.registry.versions["m"] = {"1"}
    await on_trial.carry_out()
    alert = on_trial.said("alerts")[-1]
    assert (alert.cause, alert.severity) == ("registry", Severity.HIGH)
    assert not await on_trial.store.unaliased()


async def test_promoted_challenger_takes_charge(on_trial) -> None:
    """A promoted trial makes the challenger champion, here and in the registry, once."""
    promoted = experiment(ExperimentState.PROMOTED)
    await on_trial.trials.experiment(promoted)
    await on_trial.trials.experiment(promoted.model_copy(update={"revision": 4}))
    await on_trial.carry_out()
    state = on_trial.model()
    assert (state.revision, state.champion.version, state.challenger) == (3, "2", None)
    assert on_trial.registry.aliases == {("m", "champion"): "2"}
    assert [(each.version, each.became) for _, each in on_trial.store.versions_log][-2:] == [
        ("2", "champion"),
        ("1", "retired"),
    ]


async def test_promotion_of_a_version_rolled_back_since_changes_nothing(on_trial) -> None:
    """A rollback heard before the promotion holds: the version stays in quarantine, the champion stays."""
    await on_trial.trials.rollback(rollback())
    before = on_trial.model()
    await on_trial.trials.experiment(experiment(ExperimentState.PROMOTED))
    assert on_trial.model() == before
    assert (before.champion.version, before.quarantined) == ("1", ("2",))


async def test_old_promotion_heard_again_changes_nothing(on_trial) -> None:
    """The compacted topic, read again from its beginning, does not bring an old champion back."""
    await on_trial.trials.experiment(experiment(ExperimentState.PROMOTED))
    await on_trial.register.queue(registration(8, "3"))
    await on_trial.carry_out()
    await on_trial.trials.experiment(experiment(ExperimentState.PROMOTED))
    assert on_trial.model().champion.version == "3"


@pytest.mark.parametrize("state", [ExperimentState.ROLLED_BACK, ExperimentState.STOPPED])
async def test_ended_trial_leaves_no_challenger(on_trial, state: ExperimentState) -> None:
    """A trial that was rolled back or stopped leaves the champion alone in charge."""
    await on_trial.trials.experiment(experiment(state))
    assert (on_trial.model().champion.version, on_trial.model().challenger) == ("1", None)


async def test_rollback_quarantines_in_either_order(on_trial) -> None:
    """The experiment's end heard first, or twice: the version is in quarantine in the end."""
    await on_trial.trials.experiment(experiment(ExperimentState.ROLLED_BACK))
    await on_trial.trials.rollback(rollback())
    await on_trial.trials.rollback(rollback())
    assert (on_trial.model().quarantined, on_trial.model().challenger) == (("2",), None)
    assert on_trial.model().revision == 4


@pytest.mark.parametrize(
    "other",
    [
        experiment(ExperimentState.RUNNING),
        experiment(ExperimentState.PROMOTED, kind=ExperimentKind.AB),
        experiment(ExperimentState.PROMOTED, model="unknown"),
        experiment(ExperimentState.STOPPED, version="7"),
    ],
)
async def test_other_experiments_are_nothing_to_us(on_trial, other: Experiment) -> None:
    """Running trials, other kinds, models that nobody registered and other versions change nothing."""
    said = len(on_trial.store.published)
    await on_trial.trials.experiment(other)
    await on_trial.trials.rollback(rollback().model_copy(update={"model": None}))
    assert len(on_trial.store.published) == said


async def test_alert_of_the_registry_ends_when_the_aliases_can_be_set(on_trial) -> None:
    """Once the registry holds what is in charge, the episode of the lost version ends."""
    await on_trial.trials.experiment(experiment(ExperimentState.PROMOTED))
    on_trial.registry.versions["m"] = {"1", "3"}
    await on_trial.carry_out()
    await on_trial.register.queue(registration(9, "3"))
    await on_trial.carry_out()
    await on_trial.carry_out()
    told = [each.state for each in on_trial.said("alerts") if each.cause == "registry"]
    assert told == [AlertState.OPENED, AlertState.RESOLVED]
