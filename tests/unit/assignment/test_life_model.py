"""The life of experiments, model-checked: whatever is tried in whatever order, the laws hold."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, precondition, rule

from schemas.audience import Exclusion, Forced
from schemas.experiments import (
    Experiment,
    ExperimentDefinition,
    ExperimentKind,
    ExperimentState,
    Metric,
    Policy,
    Variant,
    VerdictKind,
)
from schemas.policies import Bandit
from services.assignment.domain.change import CoverageTarget, Order
from services.assignment.domain.coverage import ExposedUnits
from services.assignment.handlers.advance import advance
from services.assignment.handlers.change_coverage import change_coverage
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.follow_verdict import follow_verdict
from services.assignment.handlers.force_units import force_units
from services.assignment.handlers.lift_quarantine import lift_quarantine
from services.assignment.handlers.pause import pause
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.reallocate import reallocate
from services.assignment.handlers.resume import resume
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.start import start
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.laws import UNITS, Laws
from tests.unit.assignment.make import RAMP, TEMPLATE, model_state, verdict

MODELS = ("digits", "letters")
VERSIONS = ("1", "2", "3")
SMALL = Policy(ramp=RAMP[:2])

Step = Callable[[Desk, Order], Coroutine[Any, Any, Experiment]]

versions = st.sampled_from(VERSIONS)
models = st.sampled_from(MODELS)
shares = st.sampled_from([None, (0.0, 0.5), (0.25, 0.75), (0.5, 1.0)])
steps = st.sampled_from([start, pause, resume, advance])
ends = st.sampled_from([promote, roll_back, stop])


def plain(name: str, **fields: Any) -> ExperimentDefinition:
    """Return an A/B experiment."""
    arms = (Variant(key="control"), Variant(key="treatment"))
    return ExperimentDefinition(experiment_id=name, **({"variants": arms, "control": "control"} | fields))


def versioned(name: str, model: str, kind: ExperimentKind, old: str, new: str) -> ExperimentDefinition:
    """Return an experiment on two versions of a model."""
    arms = (Variant(key="control", model_version=old), Variant(key="treatment", model_version=new))
    return plain(name, kind=kind, model=model, variants=arms, policy=SMALL)


class Life(Laws):
    """Every handler, by a person, a verdict or `models`."""

    experiments = Bundle("experiments")

    @rule(
        target=experiments,
        share=shares,
        sticky=st.booleans(),
        ramp=st.booleans(),
        coverage=st.sampled_from([0.1, 0.5, 1.0]),
    )
    def create_plain(
        self, share: tuple[float, float] | None, sticky: bool, ramp: bool, coverage: float
    ) -> str:
        """An A/B experiment, perhaps in an exclusion group, perhaps one that remembers its units."""
        exclusion = share and Exclusion(group="prices", start=share[0], end=share[1])
        policy = SMALL if ramp else Policy(ramp=())
        return self._create(
            plain(self._name(), exclusion=exclusion, sticky=sticky, policy=policy, coverage=coverage)
        )

    @rule(target=experiments, model=models, old=versions, new=versions, trial=st.booleans())
    def create_versioned(self, model: str, old: str, new: str, trial: bool) -> str:
        """An experiment on versions of a model: a trial, or an A/B experiment beside it."""
        kind = ExperimentKind.CHAMPION_CHALLENGER if trial else ExperimentKind.AB
        return self._create(versioned(self._name(), model, kind, old, new))

    @rule(target=experiments)
    def create_bandit(self) -> str:
        """A bandit: its weights will follow verdicts."""
        metrics = (Metric(name="bought", conversion="purchase"),)
        policy = Policy(bandit=Bandit(), ramp=())
        return self._create(plain(self._name(), kind=ExperimentKind.BANDIT, metrics=metrics, policy=policy))

    @rule(name=experiments, step=steps)
    def step(self, name: str, step: Step) -> None:
        """A person's step: it happens or is refused."""
        self._try(lambda: step(self.desk, Order(name, "ada", "because")), moves=step in (pause, resume))

    @rule(name=experiments, end=ends)
    def end(self, name: str, end: Step) -> None:
        """A person ends an experiment, one way or another."""
        self._try(lambda: end(self.desk, Order(name, "ada", "because")), moves=True)

    @rule(
        name=experiments,
        stage=st.sampled_from([None, 0, 1]),
        coverage=st.sampled_from([None, 0.05, 0.4, 0.8]),
        units=st.sampled_from([None, *ExposedUnits]),
    )
    def cover(self, name: str, stage: int | None, coverage: float | None, units: ExposedUnits | None) -> None:
        """More or less coverage by hand; only less of it may take a variant from a unit."""
        before = self._find(name)
        target = CoverageTarget(stage, coverage, units)
        order = Order(name, "ada", "because", target=target)
        lowers = self._covers_less(before, target)
        self._try(lambda: change_coverage(self.desk, order), moves=lowers)
        after = self._find(name)
        # Where weights were changed by hand, the same stage may ask for less than is covered.
        assert lowers or before.keeps_units or after.coverage >= before.coverage
        if after.coverage < before.coverage:
            assert units is ExposedUnits.TO_CONTROL or (units is ExposedUnits.KEEP and before.keeps_units)
            assert (after.remembers_since == after.revision) == (units is ExposedUnits.TO_CONTROL)

    @rule(name=experiments, weight=st.sampled_from([0.2, 1.0, 3.0]))
    def weigh(self, name: str, weight: float) -> None:
        """Other weights by hand, where units are remembered."""
        weights = {"control": 1.0, "treatment": weight}
        self._try(lambda: reallocate(self.desk, Order(name, "ada", "because", weights=weights)))

    @rule(name=experiments, units=st.sets(st.sampled_from(UNITS[:5]), max_size=2))
    def force(self, name: str, units: set[str]) -> None:
        """Units get a variant by name, others are released."""
        key = self._find(name).variants[-1].key
        forced = tuple(Forced(unit_id=each, variant=key) for each in sorted(units))
        self._try(lambda: force_units(self.desk, Order(name, "ada", "because", forced=forced)), moves=True)

    @rule(name=experiments, kind=st.sampled_from(VerdictKind), behind=st.sampled_from([0, 0, 0, 1]))
    def advise(self, name: str, kind: VerdictKind, behind: int) -> None:
        """A verdict of any kind, fresh or one revision late."""
        before = self._find(name)
        fields: dict[str, Any] = {"revision": max(1, before.revision - behind), "stage": before.stage}
        if kind is VerdictKind.REALLOCATE:
            fields["weights"] = {"control": 0.3, "treatment": 0.7}
        advice = verdict(before, kind, verdict_id=f"{name}-{before.revision}-{kind}-{behind}", **fields)
        ends = kind in (VerdictKind.PROMOTE, VerdictKind.ROLL_BACK, VerdictKind.STOP)
        self._try(lambda: follow_verdict(self.desk, advice), moves=ends)
        after = self._find(name)
        if behind and before.revision > 1:
            assert after == before, "late advice was followed"
        if kind is VerdictKind.ROLL_BACK and before.live and not behind:
            assert after.state is ExperimentState.ROLLED_BACK

    @rule(model=models, champion=versions, challenger=st.none() | versions, quarantined=st.sets(versions))
    def hear(self, model: str, champion: str, challenger: str | None, quarantined: set[str]) -> None:
        """`models` tells a new state of a model."""
        revision = 1 + self._record(model).state_revision
        state = model_state(
            revision, champion=champion, challenger=challenger, quarantined=sorted(quarantined), model=model
        )
        self._try(lambda: follow_model(self.desk, state), moves=True)

    @precondition(lambda self: self._record(MODELS[0]).template is None)
    @rule()
    def template(self) -> None:
        """A person says how challengers are tried."""
        for model in MODELS:
            self._try(lambda model=model: put_trial_template(self.desk, model, TEMPLATE), moves=True)  # type: ignore[misc]

    @precondition(lambda self: any(self._record(model).quarantined for model in MODELS))
    @rule(model=models, version=versions)
    def lift(self, model: str, version: str) -> None:
        """A person lifts a quarantine."""
        self._try(lambda: lift_quarantine(self.desk, model, version, by="ada", reason="because"), moves=True)


TestLife = pytest.mark.timeout(600)(Life.TestCase)  # 20 s by itself; busy cores and coverage make it minutes
TestLife.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
