"""What must hold of experiments after whatever was done to them, and how a step is tried."""

from collections.abc import Callable, Coroutine, Mapping
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from libs.common.clock import ManualClock
from libs.common.errors import Conflict, Refused
from schemas.experiments import (
    Experiment,
    ExperimentDefinition,
    ExperimentKind,
    ExperimentState,
)
from services.assignment.domain.change import CoverageTarget, Order
from services.assignment.domain.life import ENDED, Note, Verb, change
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.rule_set import rule_set
from services.assignment.handlers.create import create
from services.assignment.handlers.reading import record_of
from services.assignment.handlers.start import start
from services.assignment.ports import Desk
from tests.unit.assignment.make import desk, store_of
from trimtab.assignments import Assignment
from trimtab.evaluation import evaluate
from trimtab.rules import parse

UNITS = tuple(f"user-{number}" for number in range(200))

T = TypeVar("T")
Met = Mapping[str, dict[str, str | None]]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing: the store is in memory."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


class Laws(RuleBasedStateMachine):
    """A store in memory, and the laws that hold after each step. A subclass has the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.desk: Desk = desk()
        self.store = store_of(self.desk)
        self.told: dict[str, list[Experiment]] = {}
        self.met: Met = {}
        """By experiment: the variant in which each unit takes part now."""
        self.first: dict[str, dict[str, str]] = {}
        self.names = 0

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
