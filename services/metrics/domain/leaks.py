"""Leaks: exposures to a variant that gets no traffic; and what shows that there are none after a rollback.

By event time: what happened before the variant lost its traffic, or within the grace that clients need to
follow, is no leak however late it is read. An exposure counts as not later than its record: a clock that is
ahead raises no alarm.

Absence is evidence only of a log that was read: a rollback is verified when all that was in the log at a
moment after grace and delay is in the totals, and no leak goes on. Until then there is no evidence, and no
verdict. Exposures count until the experiment's end, its longest window and the lateness are over: what leaks
later than that is not seen.
"""

from dataclasses import dataclass

from schemas.experiments import Experiment, ExperimentState, VerdictKind
from services.metrics.domain.memory import RatioMemory
from services.metrics.domain.situation import Advice
from services.metrics.domain.totals import ExperimentTotals

LEAK_OVER_MS = 60_000
"""A leak is over when nothing has leaked for so long."""
LOOK_AGAIN_MS = 1_000


@dataclass(frozen=True, slots=True)
class Watch:
    """What leaks are judged by."""

    grace_ms: int = 5_000
    """How long clients may take to follow a change."""
    delay_ms: int = 5_000
    """How long an exposure may take from where it happens into the log."""
    read_to_ms: int = 0
    """All that was in the log at this moment is in the totals. 0: that is not known of any."""


BLIND = Watch()
"""As long as nobody knows how far the log is read."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """Who leaks: variants that units met though they get no traffic."""

    variants: tuple[str, ...] = ()
    units: int = 0
    """That met one of them for the first time since."""
    since_ms: int = 0
    """Exposures after this count: 0 where the variant never had any traffic."""
    latest_ms: int = 0
    """When the latest of them happened."""

    @property
    def in_words(self) -> str:
        """Return one sentence; nothing where there is no leak."""
        if not self.variants:
            return ""
        after = f", {self.latest_ms - self.since_ms} ms after clients should have followed" * (
            self.since_ms > 0
        )
        return (
            f"variants with weight 0, rolled back, or not defined: {', '.join(self.variants)}; {self.units} "
            f"units met them for the first time since; the latest exposure was at {self.latest_ms}{after}"
        )


def awaits_verification(experiment: Experiment) -> bool:
    """Return whether the experiment was rolled back, and exposures have yet to show that it is in force."""
    return (
        experiment.state is ExperimentState.ROLLED_BACK
        and experiment.ended_at_ms is not None
        and experiment.verified_at_ms is None
    )


def find_leaks(
    experiment: Experiment, totals: ExperimentTotals, ratio: RatioMemory, watch: Watch, over_ms: int
) -> Leaks:
    """Return what leaks, of exposures later than `over_ms`: up to there a leak is known, and over.

    A live experiment leaks through variants of weight 0 and those that nobody defined, one that was rolled
    back through every variant but control; others that have ended are not watched.
    """
    if experiment.live:
        lost = {each.key for each in experiment.variants if each.weight <= 0}
        since_ms = ratio.weights_since_ms + watch.grace_ms if ratio.weights_since_ms else 0
        units = {
            key: max(0, each.units - ratio.units_at_weights.get(key, 0))
            for key, each in totals.variants.items()
        }
    elif experiment.state is ExperimentState.ROLLED_BACK and experiment.ended_at_ms is not None:
        lost = {each.key for each in experiment.variants if each.key != experiment.control}
        since_ms = experiment.ended_at_ms + watch.grace_ms
        units = {key: each.late_units for key, each in totals.variants.items()}
    else:
        return Leaks()
    lost |= totals.variants.keys() - {each.key for each in experiment.variants}
    found = {
        key: each.last_exposed_ms
        for key, each in totals.variants.items()
        if key in lost and each.exposures > 0 and each.last_exposed_ms > max(since_ms, over_ms)
    }
    return Leaks(
        tuple(sorted(found)), sum(units[key] for key in found), since_ms, max(found.values(), default=0)
    )


def is_over(leaks: Leaks, watch: Watch) -> bool:
    """Return whether nothing has leaked for a minute, as far as the log is read."""
    return bool(leaks.variants) and leaks.latest_ms + LEAK_OVER_MS + watch.delay_ms <= watch.read_to_ms


def verify(experiment: Experiment, leaks: Leaks, watch: Watch, over_ms: int) -> Advice | None:
    """Return the advice to take the rollback as in force; None while there is no evidence for that.
    `over_ms` as in `find_leaks`."""
    if not awaits_verification(experiment) or leaks.variants:
        return None
    assert experiment.ended_at_ms is not None, "it awaits verification"
    followed_ms = experiment.ended_at_ms + watch.grace_ms
    if watch.read_to_ms < followed_ms + watch.delay_ms:
        return None
    since = f"{watch.grace_ms} ms after the end at {experiment.ended_at_ms}"
    if over_ms > followed_ms:
        since = f"{over_ms}, when a leak ended"
    return Advice(
        VerdictKind.VERIFY,
        experiment.control,
        f"all exposures that were in the log at {watch.read_to_ms} are counted: none to a variant other than "
        f"{experiment.control} happened later than {since}",
    )
