"""The life of experiments, model-checked: whatever is tried in whatever order, the laws hold."""

from collections.abc import Callable, Coroutine, Mapping
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from libs.common.clock import ManualClock
from libs.common.errors import Conflict, Refused
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
from services.assignment.domain.life import ENDED, Note, Verb, change
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.rule_set import rule_set
from services.assignment.handlers.advance import advance
from services.assignment.handlers.change_coverage import change_coverage
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.follow_verdict import follow_verdict
from services.assignment.handlers.force_units import force_units
from services.assignment.handlers.lift_quarantine import lift_quarantine
from services.assignment.handlers.pause import pause
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.reading import record_of
from services.assignment.handlers.reallocate import reallocate
from services.assignment.handlers.resume import resume
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.start import start
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.make import RAMP, TEMPLATE, desk, model_state, store_of, verdict
from trimtab.assignments import Assignment
from trimtab.evaluation import evaluate
from trimtab.rules import parse

UNITS = tuple(f"user-{number}" for number in range(200))
MODELS = ("digits", "letters")
VERSIONS = ("1", "2", "3")
SMALL = Policy(ramp=RAMP[:2])

T = TypeVar("T")
Step = Callable[[Desk, Order], Coroutine[Any, Any, Experiment]]
Met = Mapping[str, dict[str, str | None]]

versions = st.sampled_from(VERSIONS)
models = st.sampled_from(MODELS)
shares = st.sampled_from([None, (0.0, 0.5), (0.25, 0.75), (0.5, 1.0)])
steps = st.sampled_from([start, pause, resume, advance])
ends = st.sampled_from([promote, roll_back, stop])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing: the store is in memory."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


def plain(name: str, **fields: Any) -> ExperimentDefinition:
    """Return an A/B experiment."""
    arms = (Variant(key="control"), Variant(key="treatment"))
    return ExperimentDefinition(experiment_id=name, **({"variants": arms, "control": "control"} | fields))


def versioned(name: str, model: str, kind: ExperimentKind, old: str, new: str) -> ExperimentDefinition:
    """Return an experiment on two versions of a model."""
    arms = (Variant(key="control", model_version=old), Variant(key="treatment", model_version=new))
    return plain(name, kind=kind, model=model, variants=arms, policy=SMALL)


class Life(RuleBasedStateMachine):
    """Every handler over a store in memory, and what must hold after each step."""

    experiments = Bundle("experiments")

    def __init__(self) -> None:
        super().__init__()
        self.desk: Desk = desk()
        self.store = store_of(self.desk)
        self.told: dict[str, list[Experiment]] = {}
        self.met: Met = {}
        """By experiment: the variant in which each unit takes part now."""
        self.first: dict[str, dict[str, str]] = {}
        self.names = 0

    # What can happen.

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

    # What must hold.

    @invariant()
    def history_only_grows_and_replays(self) -> None:
        """Revisions have no gap, what was told stays told, ended stays ended, coverage falls by one verb."""
        for name in self._all():
            past = [each.experiment for each in run(self.store.history(name, limit=1_000))]
            assert [each.revision for each in past] == list(range(1, len(past) + 1))
            before = self.told.get(name, [])
            assert past[: len(before)] == before
            assert past[-1] == self._find(name)
            for earlier, later in pairwise(past):
                _follows(earlier, later)
            self.told[name] = past

    @invariant()
    def nobody_changes_sides(self) -> None:
        """A unit of an experiment that does not remember its units meets one variant of it, ever."""
        for name, now in self.met.items():
            first = self.first.setdefault(name, {})
            for unit, key in now.items():
                assert key is None or first.setdefault(unit, key) == key

    @invariant()
    def whatever_is_live_can_be_rolled_back(self) -> None:
        """From every live state the way back is open."""
        for each in run(self.store.live()):
            assert change(each, Verb.ROLL_BACK, Note("ada", "harm", 0)).state is ExperimentState.ROLLED_BACK

    @invariant()
    def at_most_one_live_trial_a_model(self) -> None:
        """Champion and challenger of a model meet in one experiment at a time."""
        kind = ExperimentKind.CHAMPION_CHALLENGER
        trials = [each.model for each in run(self.store.live()) if each.kind is kind]
        assert len(trials) == len(set(trials))

    @invariant()
    def shares_of_a_group_do_not_overlap(self) -> None:
        """Live experiments of one exclusion group have disjoint shares."""
        held = sorted(
            (each.exclusion.start, each.exclusion.end)
            for each in run(self.store.live())
            if each.exclusion is not None
        )
        assert all(one[1] <= other[0] for one, other in pairwise(held))

    @invariant()
    def quarantined_versions_serve_nobody(self) -> None:
        """A version in quarantine is what no experiment adds and no model answers with."""
        records = {each.model: set(each.quarantined) for each in run(self.store.models())}
        rules = parse(rule_set(run(self.store.snapshot())))
        for model, bad in records.items():
            for unit in UNITS[:20]:
                assert evaluate(rules, model, unit).model_version not in bad
        for name in self._all():
            experiment = self._find(name)
            bad = records.get(experiment.model or "", set())
            safe = experiment.variant(experiment.control).model_version
            for unit in UNITS[:20]:
                found = evaluate(rules, name, unit).model_version
                assert found is None or found not in bad or found == safe

    @invariant()
    def logged(self) -> None:
        """Who is in quarantine is what the log of quarantines comes to."""
        for record in run(self.store.models()):
            standing = {
                each.version: each.act for each in run(self.store.quarantine_log(record.model, limit=1_000))
            }
            assert {each for each, act in standing.items() if act == "quarantined"} == set(record.quarantined)

    # How it is done.

    def _name(self) -> str:
        self.names += 1
        return f"x{self.names}"

    def _create(self, definition: ExperimentDefinition) -> str:
        name = definition.experiment_id
        run(create(self.desk, definition, by="ada"))
        self._try(lambda: start(self.desk, Order(name, "ada", "because")))
        return name

    def _try(self, work: Callable[[], Coroutine[Any, Any, object]], *, moves: bool = False) -> None:
        assert isinstance(self.desk.clock, ManualClock)
        self.desk.clock.advance(1_000)
        told = len(self.store.told)
        try:
            run(work())
        except (Refused, Conflict):
            assert len(self.store.told) == told, "refused, and yet something was told"
        if not moves:
            self._nobody_moved()
        self._meet()

    def _meet(self) -> None:
        self.met = {name: self._variants(name) for name in self._all() if not self._find(name).keeps_units}

    def _nobody_moved(self) -> None:
        for name, before in self.met.items():
            now = self._variants(name)
            assert all(now[unit] == key for unit, key in before.items() if key is not None)

    def _covers_less(self, before: Experiment, target: CoverageTarget) -> bool:
        if not before.policy.ramp:
            return target.coverage is not None and target.coverage < before.coverage
        return target.stage is not None and target.stage < before.stage

    def _variants(self, name: str) -> dict[str, str | None]:
        rules = parse(rule_set(run(self.store.snapshot())))
        return {unit: _taking_part(evaluate(rules, name, unit), name) for unit in UNITS}

    def _record(self, model: str) -> ModelRecord:
        return run(record_of(self.store, model))

    def _find(self, name: str) -> Experiment:
        found = run(self.store.find(name))
        assert found is not None
        return found

    def _all(self) -> list[str]:
        return [each.experiment_id for each in run(self.store.experiments(state=None, limit=1_000))]


def _taking_part(assignment: Assignment, name: str) -> str | None:
    """Return the variant in which a unit takes part; an ended trial answers for the one that lives."""
    mine = assignment.in_experiment and assignment.experiment_id == name
    return assignment.variant if mine else None


def _follows(before: Experiment, after: Experiment) -> None:
    """Assert that one revision may follow on another."""
    assert after.updated_at_ms >= before.updated_at_ms
    assert after.changed_by
    assert after.reason
    if before.state in ENDED:
        assert after.state is before.state is ExperimentState.ROLLED_BACK
        assert before.verified_at_ms is None
        assert after.verified_at_ms is not None
    if after.coverage < before.coverage:
        assert after.state is before.state
        assert after.changed_by == "ada", "only a person takes traffic away without an end"
    if not after.keeps_units:
        assert [each.weight for each in after.variants] == [each.weight for each in before.variants]


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
