"""Experiments of every kind for GrowthBook's SDKs, the same at every run, and what both sides say."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from growthbook import GrowthBook

from schemas.audience import Exclusion, Forced, Hashing, Holdout
from schemas.experiments import Experiment, ExperimentDefinition, ExperimentKind, ExperimentState, Variant
from services.assignment.domain.growthbook import features
from services.assignment.domain.growthbook_conditions import Json
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.rule_set import Snapshot, rule_set
from tests.unit.assignment.make import NOW_MS
from trimtab.evaluation import evaluate
from trimtab.rules import Rules, parse

Said = tuple[Any, str | None]
"""A unit's value, and its variant when it takes part."""

COUNTRIES = ("de", "fr", "jp", "us")
TARGETING: tuple[dict[str, Any], ...] = (
    {},
    {"country": "de"},
    {"country": {"$in": ["de", "jp"]}, "age": {"$gte": 30}},
    {"$or": [{"age": {"$lt": 20}}, {"country": {"$ne": "us"}}]},
    {"$not": {"tags": {"$elemMatch": {"$eq": "beta"}}}},
    {"plan.name": {"$regex": "^p"}, "plan.seats": {"$exists": True}},
    {"version": {"$vgte": "2.10.0"}},
    {"version": {"$vne": "3.0.0", "$vgt": "2.0", "$notRegex": "rc"}},
    {"age": {"$not": {"$lt": 40}}, "country": {"$notRegexi": "^D"}},
    {"$nor": [{"age": 20}, {"mixed": 1}, {"mixed": True}, {"mixed": "1"}]},
    {"mixed": {"$gt": 0}},
    {"mixed": {"$gte": "0", "$lte": 5}},
    {"mixed": False},
    {"mixed": None},
    {"tags": {"$all": ["beta", {"$regex": "v"}]}},
    {"tags": {"$alli": ["BETA"], "$size": {"$lte": 2}}},
    {"tags": {"$size": 2}},
    {"tags": ["vip", "new"]},
    {"tags": {"$in": ["vip", 1]}, "age": {"$nin": [20, 21]}},
    {"plan": {"$elemMatch": {"name": "pro", "seats": {"$gt": 1}}}},
    {"plans": {"$elemMatch": {"name": "pro", "$or": [{"seats": {"$gt": 1}}, {"seats": {"$exists": False}}]}}},
    {"country": {"$regex": "null|e"}, "version": {"$vlt": "9"}},
    {"mixed": {"$type": "string", "$lt": 5}},
    {"$and": [{"$or": []}, {"age": {"$gt": 18, "$lt": 50, "$ne": 30}}]},
)
MIXED = (0, 1, "0", "1", "", True, False, None, 2.5, "x", [1], ["1"], {"a": 1})
IDS = ("用户-{}", "user-{}", "🚀{}", "Zoë {}", "e\u0301-{}", "{}", "𝒳𝒴-{}-\u00ff")


def experiment(experiment_id: str = "checkout", **fields: Any) -> Experiment:
    """Return an experiment that runs, hashed as GrowthBook does, with changes."""
    basis = {
        "experiment_id": experiment_id,
        "variants": (Variant(key="control", payload="blue"), Variant(key="treatment", payload="green")),
        "control": "control",
        "hashing": Hashing.GROWTHBOOK_V2,
    }
    life = {
        "state": ExperimentState.RUNNING,
        "revision": 2,
        "stage_started_at_ms": NOW_MS,
        "created_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
        "changed_by": "ada",
        "reason": "test",
    }
    own = {name: value for name, value in fields.items() if name in ExperimentDefinition.model_fields}
    definition = ExperimentDefinition(**(basis | own))
    values = {name: getattr(definition, name) for name in ExperimentDefinition.model_fields}
    return Experiment(**(values | life | {name: value for name, value in fields.items() if name not in own}))


@dataclass(frozen=True, slots=True)
class Case:
    """A rule set as we evaluate it, and as GrowthBook's SDKs do."""

    rules: Rules
    features: Mapping[str, Json]

    def ours(self, key: str, attributes: Mapping[str, Any]) -> Said:
        """Return what `evaluate` says of a unit."""
        said = evaluate(self.rules, key, attributes["id"], attributes)
        return said.value, said.variant if said.in_experiment else None


def case_of(
    live: Sequence[Experiment] = (), ended: Sequence[Experiment] = (), models: Sequence[ModelRecord] = ()
) -> Case:
    """Return the case of a snapshot."""
    document: Any = rule_set(Snapshot(7, tuple(live), tuple(ended), tuple(models)))
    rules = parse(document)
    targeting = {each["experiment_id"]: each["targeting"] for each in document["experiments"]}
    return Case(rules, features(rules, targeting))


def weighed(control: float, since: int) -> Case:
    """Return a sticky experiment with this weight of control and 1 of treatment."""
    variants = (
        Variant(key="control", payload="blue", weight=control),
        Variant(key="treatment", payload="green"),
    )
    return case_of([experiment(variants=variants, sticky=True, remembers_since=since, revision=since + 1)])


def theirs(client: GrowthBook, key: str, attributes: dict[str, Any]) -> Said:
    """Return what growthbook for Python says of a unit."""
    client.set_attributes(attributes)
    said = client.eval_feature(key)
    found = said.experimentResult
    return said.value, found.key if found is not None and found.inExperiment else None


def people(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return the attributes of units: ids of every script, some attributes missing."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        known = {
            "country": draw.choice(COUNTRIES),
            "age": draw.randint(10, 60),
            "tags": draw.sample(["beta", "vip", "new"], draw.randint(0, 3)),
            "plan": {"name": draw.choice(["pro", "free"]), "seats": draw.choice([1, 5])},
            "plans": [{"name": draw.choice(["pro", "free"]), "seats": draw.choice([1, 5])}, {"name": "pro"}],
            "version": draw.choice(["2.9.1", "2.10.0", "2.10.0-rc.1", "3.0.0", 3, None]),
            "mixed": draw.choice(MIXED),
        }
        kept = {name: value for name, value in known.items() if draw.random() < 0.9}
        found.append({"id": draw.choice(IDS).format(number), **kept})
    return found


def random_experiment(draw: random.Random, experiment_id: str, units: Sequence[str]) -> Experiment:
    """Return an experiment with anything that the payload can carry."""
    arms = draw.randint(2, 4)
    weights = [draw.choice([0.0, 1.0, 1.0, 3.0, draw.random()]) for _ in range(arms)]
    weights[draw.randrange(arms)] = 1.0
    carried = draw.choice([{}, {"payload": 1}, {"model_version": "v"}])
    variants = tuple(
        Variant(key=f"arm-{n}", weight=weight, **{name: _nth(value, n) for name, value in carried.items()})
        for n, weight in enumerate(weights)
    )
    edge = draw.random()
    kind = draw.choice([ExperimentKind.AB] * 4 + [ExperimentKind.FLAG, ExperimentKind.SHADOW])
    return experiment(
        experiment_id,
        kind=kind,
        variants=variants,
        control=f"arm-{draw.randrange(arms)}",
        coverage=draw.choice([0.0, 0.37, 1.0, 1.0, draw.random()]),
        salt=draw.choice([None, f"salt-{edge}"]),
        targeting=draw.choice(TARGETING),
        exclusion=draw.choice([None, Exclusion(group="g", start=edge * 0.5, end=0.5 + edge * 0.5)]),
        holdout=draw.choice([None, Holdout(name="h", share=draw.choice([0.0, 0.1, edge, 1.0]))]),
        forced=tuple(
            Forced(unit_id=unit, variant=f"arm-{draw.randrange(arms)}")
            for unit in draw.sample(units, draw.choice([0, 0, 3]))
        ),
        sticky=draw.random() < 0.3,
    )


def _nth(value: object, number: int) -> Any:
    return {"price": number, "label": f"p{number}"} if value == 1 else f"v{number}"
