"""Sticky units: the memory in memory, the cache, and evaluations that go by them."""

from typing import Any

import pytest

from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from libs.common.errors import Retryable
from schemas.experiments import Experiment
from services.assignment.adapters.exposures import BusExposures
from services.assignment.adapters.memory import MemoryStore
from services.assignment.adapters.sticky import CachedSticky
from services.assignment.adapters.sticky_memory import MemorySticky
from services.assignment.domain.rule_set import Snapshot, rule_set
from services.assignment.handlers.evaluate import Means, Question, assign, evaluate_all, recall_all
from services.assignment.ports import Given
from tests.unit.assignment.make import NOW_MS, definition
from tests.unit.assignment.sticky_contract import Place, StickyContract
from trimtab.rules import Rules, parse


@pytest.fixture(params=[False, True], ids=["plain", "cached"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return an empty memory, with and without the cache in front."""
    store = MemoryStore(ManualClock())
    sticky = MemorySticky(store)
    return Place(CachedSticky(sticky, max_units=100) if request.param else sticky, store)


class TestMemorySticky(StickyContract):
    """The contract, kept in memory."""


def rules(revision: int, share: float, **fields: Any) -> Rules:
    """Return the rules of one sticky experiment at a revision, with this share of weight for treatment."""
    made = definition(**({"sticky": True, "coverage": 1.0} | fields))
    control, treatment = made.variants
    variants = (
        control.model_copy(update={"weight": 1 - share}),
        treatment.model_copy(update={"weight": share}),
    )
    times: dict[str, Any] = {"stage_started_at_ms": NOW_MS, "created_at_ms": NOW_MS, "updated_at_ms": NOW_MS}
    body = made.model_dump() | times | {"state": "running", "changed_by": "ada", "reason": "why"}
    body |= {"revision": revision, "variants": variants, "coverage": 1.0}
    since = {"remembers_since": fields["remembers_since"]} if "remembers_since" in fields else {}
    experiment = Experiment.model_validate(body | since, strict=False)
    return parse(rule_set(Snapshot(revision, (experiment,), (), ())))


class Setting:
    """A means of evaluation whose parts can be looked at and broken."""

    def __init__(self, bus: MemoryBus, sticky: MemorySticky, means: Means) -> None:
        self.bus, self.sticky, self.means = bus, sticky, means

    async def variant(self, known: Rules, unit_id: str) -> str | None:
        """Return the variant that a unit gets."""
        return (await assign(self.means, known, Question("checkout", unit_id))).variant


@pytest.fixture
async def setting() -> Setting:
    """Return a fresh one."""
    clock = ManualClock(NOW_MS)
    bus = MemoryBus(clock)
    producer = bus.producer()
    await producer.start()
    sticky = MemorySticky(MemoryStore(clock))
    return Setting(bus, sticky, Means(clock, BusExposures(producer, deadline_ms=100), sticky))


UNITS = [f"u{n}" for n in range(200)]


async def test_units_keep_their_variant_when_weights_change(setting: Setting) -> None:
    """Whoever was given a variant keeps it whatever the weights become; new units follow the new weights."""
    first = {unit: await setting.variant(rules(2, 0.5), unit) for unit in UNITS}
    assert set(first.values()) == {"control", "treatment"}
    after = {unit: await setting.variant(rules(3, 0.01), unit) for unit in UNITS}
    assert after == first
    fresh = [await setting.variant(rules(3, 0.01), f"new-{unit}") for unit in UNITS]
    assert fresh.count("treatment") < 10


async def test_forgotten_units_are_given_anew(setting: Setting) -> None:
    """What was given before the revision since which the experiment remembers counts no more."""
    first = {unit: await setting.variant(rules(2, 0.5), unit) for unit in UNITS[:20]}
    unit = next(unit for unit, variant in first.items() if variant == "treatment")
    assert await setting.variant(rules(3, 0.0), unit) == "treatment"
    forgetful = rules(4, 0.0)
    (rule,) = forgetful.experiments.values()
    object.__setattr__(rule, "sticky_since", 4)
    assert await setting.variant(forgetful, unit) == "control"
    assert await setting.sticky.recall(unit, {"checkout": 4}) == {"checkout": Given("control", 4)}


async def test_another_process_was_faster(setting: Setting) -> None:
    """A unit that another process gives a variant meanwhile gets that one here too, and is exposed to it."""

    class Late(MemorySticky):
        async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
            await super().remember(experiment_id, unit_id, Given("control", 2), since=since)
            return await super().remember(experiment_id, unit_id, given, since=since)

    means = Means(setting.means.clock, setting.means.exposures, Late(MemoryStore(ManualClock())))
    answer = await assign(means, rules(2, 1.0), Question("checkout", "u"))
    assert (answer.variant, answer.in_experiment) == ("control", True)
    (record,) = setting.bus.records("exposures")
    assert b'"variant":"control"' in (record.value or b"")


async def test_no_memory_no_treatment(setting: Setting) -> None:
    """While the memory is away a sticky experiment gives control, exposes nobody, and says so; so in bulk."""
    setting.sticky.down = True
    known, question = rules(2, 1.0), Question("checkout", "u")
    answer = await assign(setting.means, known, question)
    assert (answer.variant, answer.reason, answer.in_experiment) == ("control", "not_exposed", False)
    given = await recall_all(setting.means, known, "u")
    (answer,) = evaluate_all(known, ["checkout"], question, given)
    assert (answer.variant, answer.reason) == ("control", "not_exposed")
    assert setting.bus.records("exposures") == []


async def test_bulk_reads_and_does_not_write(setting: Setting) -> None:
    """A bulk evaluation goes by what is remembered and remembers nothing itself."""
    known, question = rules(2, 1.0), Question("", "u")
    given = await recall_all(setting.means, known, "u")
    (answer,) = evaluate_all(known, ["checkout"], question, given)
    assert answer.variant == "treatment"
    assert await setting.sticky.recall("u", {"checkout": 1}) == {}
    await setting.sticky.remember("checkout", "u", Given("control", 2), since=1)
    given = await recall_all(setting.means, known, "u")
    (answer,) = evaluate_all(known, ["checkout"], question, given)
    assert (answer.variant, answer.in_experiment) == ("control", True)


async def test_closed_experiments_are_not_recalled(setting: Setting) -> None:
    """Where everybody gets control the memory is not asked: what it forgets changes no answer and no tag."""
    known = rules(2, 1.0)
    (rule,) = known.experiments.values()
    object.__setattr__(rule, "closed", "settled")
    await setting.sticky.remember("checkout", "u", Given("treatment", 2), since=1)
    asked = setting.sticky.asked
    assert await recall_all(setting.means, known, "u") == {}
    assert setting.sticky.asked == asked


async def test_cache_asks_once_and_stays_small() -> None:
    """A unit is asked for once; past the limit the one used longest ago is asked for again."""
    behind = MemorySticky(MemoryStore(ManualClock()))
    cached = CachedSticky(behind, max_units=2)
    for unit in ("a", "b"):
        await cached.remember("x", unit, Given("v", 2), since=1)
    asked = behind.asked
    assert await cached.recall("a", {"x": 1}) == {"x": Given("v", 2)}
    assert behind.asked == asked
    await cached.remember("x", "c", Given("v", 2), since=1)
    assert await cached.recall("b", {"x": 1}) == {"x": Given("v", 2)}
    assert behind.asked == asked + 2
    behind.down = True
    with pytest.raises(Retryable):
        await cached.recall("a", {"x": 1})
