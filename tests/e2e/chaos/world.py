"""A seeded stream with everything that is hard about facts, and what must come of it.

Order of arrival is a shuffle: about half of the conversions come before their exposure. Facts repeat, units
meet two variants, and some records are no facts at all. What must come of it is worked out from the lists
that were sent, by a reference that knows neither the log nor ingest.
"""

from dataclasses import dataclass
from random import Random

from libs.common.bus.ports import Message
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from tests.world.metrics_reference import Reference, reference

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SPAN_MS = 6 * HOUR_MS
GRACE_MS = 5_000
"""How long after an experiment's end ingest lets clients follow it."""
RUNNING, ENDED = EXPERIMENTS = ("checkout", "ranking")
VARIANTS = ("control", "treatment")
LANDS = ("de", "fr", "it")
QUANTILE = "typical"
REPEATED, CROSSED, POISON = 0.02, 0.01, 0.004
"""Shares: of facts that arrive twice; of exposures to the other variant; of records that are poison."""
POISONS = (
    b"{",
    b"",
    None,
    b"[]",
    b"\xff\xfe",
    b'{"type":"exposure","event_id":"e","occurred_at_ms":"soon","unit_id":"u"}',
    b'{"type":"conversion","event_id":"c","occurred_at_ms":1,"unit_id":"u","name":"purchase","value":NaN}',
    b'{"type":"conversion","event_id":"c","occurred_at_ms":253402300799999,"unit_id":"u","name":"purchase"}',
    b'{"type":"surprise"}' + b" " * 5_000,
)
"""Truncated, empty, a tombstone, not an object, not text, a wrong type, not a number, from the year 9999, of
no known kind."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent, in this order, and the lists that it was made of."""

    definitions: tuple[Experiment, ...]
    messages: tuple[Message, ...]
    exposures: tuple[Exposure, ...]
    conversions: tuple[Conversion, ...]
    poisons: frozenset[str]
    """The keys of the records that are no facts."""

    def truth(self) -> dict[str, Reference]:
        """Return what is true of each experiment. The reference knows shares and plain means: the rest is the
        audit's."""
        return {
            each.experiment_id: reference(_plain(each), self.exposures, self.conversions)
            for each in self.definitions
        }

    def exposed(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return by experiment and variant when the latest exposure to it happened, and how many units met it
        for the first time when it had ended. No clock is ahead here: all happens before it is sent."""
        met: dict[tuple[str, str], dict[str, list[int]]] = {}
        for each in self.exposures:
            units = met.setdefault((each.experiment_id, each.variant), {})
            units.setdefault(each.unit_id, []).append(each.occurred_at_ms)
        ended = {each.experiment_id: each.ended_at_ms for each in self.definitions}
        found = {}
        for (key, variant), units in met.items():
            closed_ms = ended[key]
            late = (
                [] if closed_ms is None else [min(times) > closed_ms + GRACE_MS for times in units.values()]
            )
            found[key, variant] = max(map(max, units.values())), sum(late)
        return found


def make_stream(*, seed: int, units: int, now_ms: int) -> Stream:
    """Return about eleven messages a unit. The same arguments give the same stream."""
    return _Maker(Random(seed), now_ms - SPAN_MS).stream(units)


def _plain(definition: Experiment) -> Experiment:
    kinds = (MetricKind.PROPORTION, MetricKind.MEAN)
    metrics = tuple(each for each in definition.metrics if each.kind in kinds and each.upper_bound is None)
    return definition.model_copy(update={"metrics": metrics})


class _Maker:
    """Draws the facts."""

    def __init__(self, random: Random, start_ms: int) -> None:
        self._random = random
        self._start_ms = start_ms
        self._count = 0

    def stream(self, units: int) -> Stream:
        exposures: list[Exposure] = []
        conversions: list[Conversion] = []
        for number in range(units):
            unit, began_ms = f"unit-{number:05d}", self._start_ms + self._random.randrange(SPAN_MS - HOUR_MS)
            for key in EXPERIMENTS:
                exposures += self._exposures(unit, key, began_ms)
            conversions += self._conversions(unit, began_ms)
        facts: list[Exposure | Conversion] = [*exposures, *conversions]
        facts += self._random.sample(facts, int(len(facts) * REPEATED))
        bad = self._poison(int(len(facts) * POISON))
        messages = [_message(fact) for fact in facts] + bad
        self._random.shuffle(messages)
        return Stream(
            tuple(definition(key, self._start_ms) for key in EXPERIMENTS),
            tuple(messages),
            tuple(exposures),
            tuple(conversions),
            frozenset(each.key for each in bad),
        )

    def _exposures(self, unit: str, key: str, began_ms: int) -> list[Exposure]:
        chosen = self._random.randrange(2)
        return [
            Exposure(
                event_id=self._id(),
                occurred_at_ms=began_ms + self._random.randrange(HOUR_MS),
                unit_id=unit,
                experiment_id=key,
                variant=VARIANTS[chosen ^ (self._random.random() < CROSSED)],
                attributes={"land": self._random.choice(LANDS)} if self._random.random() < 0.9 else {},
            )
            for _ in range(self._random.randint(1, 5))
        ]

    def _conversions(self, unit: str, began_ms: int) -> list[Conversion]:
        return [
            Conversion(
                event_id=self._id(),
                occurred_at_ms=began_ms + self._random.randrange(-HOUR_MS // 2, HOUR_MS),
                unit_id=unit,
                name=self._random.choice(("purchase", "purchase", "visit")),
                value=self._random.uniform(-5.0, 95.0),
            )
            for _ in range(self._random.randrange(9))
        ]

    def _poison(self, count: int) -> list[Message]:
        topics = [self._random.choice(("exposures", "conversions")) for _ in range(count)]
        return [
            Message(topic, f"poison-{number}", POISONS[number % len(POISONS)])
            for number, topic in enumerate(topics)
        ]

    def _id(self) -> str:
        self._count += 1
        return f"event-{self._count}"


def _message(fact: Exposure | Conversion) -> Message:
    topic = "exposures" if isinstance(fact, Exposure) else "conversions"
    return Message(topic, fact.unit_id, fact.to_json())


def definition(key: str, began_ms: int) -> Experiment:
    """Return an experiment that measures all that ingest can: a share, a mean, a winsorised mean with a
    covariate, a count, a ratio, a quantile, a breakdown. One runs, one was rolled back on the way."""
    over = key == ENDED
    return Experiment(
        experiment_id=key,
        variants=tuple(Variant(key=each) for each in VARIANTS),
        control=VARIANTS[0],
        metrics=_metrics(),
        breakdowns=(Breakdown(attribute="land", values=LANDS[:2]),),
        state=ExperimentState.ROLLED_BACK if over else ExperimentState.RUNNING,
        ended_at_ms=began_ms + SPAN_MS // 2 if over else None,
        revision=1,
        stage_started_at_ms=began_ms,
        created_at_ms=began_ms,
        updated_at_ms=began_ms,
        changed_by="test",
        reason="test",
    )


def _metrics() -> tuple[Metric, ...]:
    """Return one metric of every kind. Of any unit they count the same conversions: those that `bought`,
    `revenue` and `visited` count, which the reference knows."""
    bought = Metric(name="bought", conversion="purchase", window_ms=HOUR_MS // 2)
    revenue = bought.model_copy(update={"name": "revenue", "kind": MetricKind.MEAN})
    capped = {"name": "capped", "upper_bound": 90.0, "covariate_window_ms": HOUR_MS}
    basket = {"name": "basket", "kind": MetricKind.RATIO, "denominator": "visit"}
    typical = {"name": QUANTILE, "kind": MetricKind.QUANTILE, "quantile": 0.9}
    return (
        bought,
        bought.model_copy(update={"name": "visited", "conversion": "visit"}),
        revenue,
        revenue.model_copy(update=capped),
        bought.model_copy(update={"name": "orders", "kind": MetricKind.COUNT}),
        bought.model_copy(update=basket),
        bought.model_copy(update=typical),
    )
