"""The running sums of an experiment in one partition: integers that are only ever added to and taken from."""

from libs.statistics.sums import MICRO, Sums
from services.metrics.domain.definitions import Plan


class VariantTally:
    """One variant's counts and, per metric of the plan, [converted units, Σy, Σy²] in micro-units."""

    __slots__ = ("conversions", "exposures", "key", "metrics", "units")

    def __init__(self, key: str) -> None:
        self.key = key
        self.units = 0
        """Units in the sample: exposed to this variant and to no other."""
        self.exposures = 0
        """Distinct exposures that name this variant, those of crossed units included."""
        self.conversions = 0
        """Distinct conversions of units in the sample that count for at least one metric."""
        self.metrics: list[list[int]] = []

    def clear_metrics(self, plan: Plan) -> None:
        """Start the metrics again, at zero, for a new plan."""
        self.conversions = 0
        self.metrics = [[0, 0, 0] for _ in plan]

    def sums(self, index: int) -> Sums:
        """Return the exact sums of the metric at this place of the plan."""
        converted, total, total_squares = self.metrics[index]
        return Sums(self.units, converted, total, total_squares)


class ExperimentTally:
    """One experiment in one partition."""

    __slots__ = ("crossed_units", "experiment_id", "latest_ms", "plan", "routes", "variants")

    def __init__(self, experiment_id: str, plan: Plan) -> None:
        self.experiment_id = experiment_id
        self.variants: dict[str, VariantTally] = {}
        self.crossed_units = 0
        self.latest_ms = 0
        """The latest event time of its exposures and of its units' conversions, whether they count or not."""
        self.adopt(plan)

    def adopt(self, plan: Plan) -> None:
        """Take on a plan and start its sums at zero; the caller counts the units in again."""
        self.plan = plan
        routes: dict[str, list[tuple[int, int, bool]]] = {}
        for index, metric in enumerate(plan):
            routes.setdefault(metric.conversion, []).append((index, metric.window_ms, metric.proportion))
        self.routes = routes
        """Name of a conversion to (place in the plan, window, proportion?) of the metrics that want it."""
        for variant in self.variants.values():
            variant.clear_metrics(plan)

    def variant(self, key: str, limit: int) -> VariantTally | None:
        """Return the tally of a variant, made when it is new; None when the limit is reached."""
        tally = self.variants.get(key)
        return self.let_in(key) if tally is None and len(self.variants) < limit else tally

    def let_in(self, key: str) -> VariantTally:
        """Return the tally of a variant, made when it is new, whatever the limit."""
        tally = self.variants.get(key)
        if tally is None:
            tally = self.variants[key] = VariantTally(key)
            tally.clear_metrics(self.plan)
        return tally


def credit(sums: list[int], values: list[int], index: int, sign: int, micro: int) -> None:
    """Move one conversion into (sign 1) or out of (-1) a unit's value of a mean, and the sums along."""
    place = 2 * index
    before, count = values[place], values[place + 1]
    after = before + sign * micro
    values[place], values[place + 1] = after, count + sign
    sums[0] += (count + sign > 0) - (count > 0)
    sums[1] += after - before
    sums[2] += after * after - before * before


def credit_once(sums: list[int], values: list[int], index: int, sign: int) -> None:
    """Likewise for a proportion: the value is 1 as long as there is any conversion."""
    place = 2 * index
    before, count = values[place], values[place + 1]
    after = MICRO if count + sign > 0 else 0
    values[place], values[place + 1] = after, count + sign
    if after != before:
        sums[0] += sign
        sums[1] += sign * MICRO
        sums[2] += sign * MICRO * MICRO
