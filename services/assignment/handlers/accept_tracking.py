"""Take exposures in the shape of GrowthBook's `trackingCallback`: onto the bus, acknowledged."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.errors import Refused, Retryable
from libs.common.ids import derived_id
from schemas.decode import Malformed
from schemas.experiments import DAY_MS
from schemas.facts import Exposure
from services.assignment.domain.growthbook_tracking import Tracked, read_tracked
from services.assignment.handlers.evaluate import carried
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk, Exposures
from trimtab.rules import ExperimentRule, Rules

MAX_ITEMS = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the item at `index` was not accepted; `field` is a dotted path, "" for the whole item."""

    index: int
    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a batch: every index is accepted, ignored, rejected, or to be sent again."""

    accepted: int
    ignored: int
    """Of units that take no part, or were forced: they do not count."""
    rejected: tuple[Problem, ...]
    retry: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AcceptTracking:
    """The handler. An accepted exposure is acknowledged by the bus when it returns."""

    desk: Desk
    rules: RulesReader
    exposures: Exposures

    async def __call__(self, items: Sequence[object]) -> Accepted:
        """Raises Refused when the batch is longer than `MAX_ITEMS`, Retryable when nothing is known yet."""
        if len(items) > MAX_ITEMS:
            raise Refused(
                f"{len(items)} exposures in one batch; at most {MAX_ITEMS} are taken",
                next_step="send smaller batches",
            )
        tracked, problems = _read(items)
        rules = await self._rules_of({each.experiment_id for each in tracked.values()})
        good: dict[int, Exposure] = {}
        for index, each in tracked.items():
            try:
                rule = await self._rule(rules, each)
            except Malformed as error:
                problems.append(Problem(index, error.field, error.problem))
            else:
                if each.unit_id not in rule.forced:
                    good[index] = self._fact(each, rule)
        told = await asyncio.gather(*(self._told(each) for each in good.values()))
        retry = tuple(index for index, done in zip(good, told, strict=True) if not done)
        problems.sort(key=lambda problem: problem.index)
        ignored = len(items) - len(good) - len(problems)
        return Accepted(len(good) - len(retry), ignored, tuple(problems), retry)

    async def _rules_of(self, experiment_ids: set[str]) -> Rules:
        """Return rules that know these experiments, if any do: the database is asked where these do not."""
        rules = (await self.rules.latest()).rules
        return rules if experiment_ids <= rules.experiments.keys() else (await self.rules.current()).rules

    async def _rule(self, rules: Rules, tracked: Tracked) -> ExperimentRule:
        """Return the rule of the experiment that an exposure is of. Raises Malformed when there is none."""
        rule = rules.experiments.get(tracked.experiment_id)
        if rule is None:
            raise Malformed("experiment.key", f"there is no experiment {tracked.experiment_id}")
        if not rule.exposes:
            raise Malformed("experiment.key", f"{tracked.experiment_id} exposes nobody: it measures nothing")
        known = any(arm.key == tracked.variant for arm in rule.arms)
        if not known and not await self._had(rule, tracked.variant):
            raise Malformed("result.key", f"{tracked.experiment_id} has no variant {tracked.variant}")
        return rule

    async def _had(self, rule: ExperimentRule, variant: str) -> bool:
        """Return whether an ended experiment, whose rule names only what serves now, has this variant.

        Units that still meet what was rolled back are exactly what must be heard of.
        """
        if not rule.closed:
            return False
        experiment = await self.desk.store.find(rule.experiment_id)
        return experiment is not None and any(each.key == variant for each in experiment.variants)

    def _fact(self, tracked: Tracked, rule: ExperimentRule) -> Exposure:
        """Return the exposure, with the id that `handlers.evaluate` gives: one a unit and day."""
        now_ms = self.desk.clock.now_ms()
        experiment_id, unit_id, variant = tracked.experiment_id, tracked.unit_id, tracked.variant
        return Exposure(
            event_id=derived_id("exposure", experiment_id, unit_id, variant, now_ms // DAY_MS),
            occurred_at_ms=now_ms,
            unit_id=unit_id,
            experiment_id=experiment_id,
            variant=variant,
            revision=min(tracked.revision, rule.revision),
            attributes=carried(tracked.attributes, rule.attributes),
        )

    async def _told(self, exposure: Exposure) -> bool:
        try:
            await self.exposures.publish(exposure)
        except Retryable:
            return False
        return True


def _read(items: Sequence[object]) -> tuple[dict[int, Tracked], list[Problem]]:
    """Return the exposures by their index, and what is wrong with other items; those that do not count are in
    neither."""
    tracked: dict[int, Tracked] = {}
    problems: list[Problem] = []
    for index, item in enumerate(items):
        try:
            found = read_tracked(item)
        except Malformed as error:
            problems.append(Problem(index, error.field, error.problem))
        else:
            if found is not None:
                tracked[index] = found
    return tracked, problems
