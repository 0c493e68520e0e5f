"""Bring one version's journal up to date with the windows that have closed."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from schemas.health import Alert
from schemas.versions import ModelState, ModelVersion
from services.drift.domain.baseline import own_profile, own_score, windows_for_profile
from services.drift.domain.episodes import Standing, follow, retire
from services.drift.domain.health import named
from services.drift.domain.journal import Journal, OwnBaseline, PerformanceVerdict
from services.drift.domain.performance import error_windows
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import Tally
from services.drift.domain.steps import Reference, adopt, look_at_features, look_at_labels, reference_of
from services.drift.domain.windows import counts_of
from services.drift.ports import Desk, ErrorDetector


@dataclass(frozen=True, slots=True)
class Place:
    """What a version is to its model at this moment, and the moment."""

    standing: Standing
    registered: ModelVersion | None
    now_ms: int


def place_of(version: str, state: ModelState | None, now_ms: int) -> Place:
    """Return the place of a version in its model's state; every version of an unregistered model serves."""
    if state is None:
        return Place(Standing(champion=False, serving=True), None, now_ms)
    serving = [each for each in (state.champion, state.challenger) if each is not None]
    registered = next((each for each in serving if each.version == version), None)
    champion = registered is not None and registered is state.champion
    return Place(Standing(champion=champion, serving=registered is not None), registered, now_ms)


class Advance:
    """Judges windows one by one, in order of time, each at most once."""

    def __init__(self, detector: ErrorDetector, policy: JudgePolicy) -> None:
        self._detector = detector
        self._policy = policy

    async def __call__(
        self, desk: Desk, journal: Journal, closed: Sequence[Tally], place: Place
    ) -> list[Alert]:
        """Judge the windows of `closed` (all that are kept, in order) that are not judged yet, `max_steps` at
        most, and change the journal. Returns the episodes that opened or closed."""
        if not place.standing.serving:
            return retire(journal, place.now_ms)
        reference = await self._reference(desk, journal, place.registered, closed)
        if reference is None:
            return []
        told: list[Alert] = []
        steps = 0
        for number, window in enumerate(closed, start=1):
            if window.start_ms > journal.judged_until_ms and steps < self._policy.max_steps:
                steps += 1
                told += await self._step(desk, journal, closed[:number], reference, place.now_ms)
        return told

    async def _reference(
        self, desk: Desk, journal: Journal, registered: ModelVersion | None, closed: Sequence[Tally]
    ) -> Reference | None:
        """Return what to compare with, taken from production where nobody registered it; None: not yet."""
        reference = reference_of(journal, registered)
        if reference.id == "":
            windows = windows_for_profile(closed, self._policy.reference_predictions)
            if not windows:
                journal.note = self._still_collecting(closed)
                return None
            journal.baseline = await _own_baseline(desk, journal, windows)
            journal.judged_until_ms = max(journal.judged_until_ms, journal.baseline.until_ms)
        if reference.score is None:
            journal.score = own_score(closed, self._policy.reference_labels)
        reference = reference_of(journal, registered)
        adopt(journal, reference)
        if reference.profile is None:
            journal.note = "no feature is numeric: only performance is judged"
        return reference

    def _still_collecting(self, closed: Sequence[Tally]) -> str:
        held = sum(each.predictions for each in closed)
        wanted = self._policy.reference_predictions
        return f"no reference profile: {held} of the first {wanted} predictions, which make one, have closed"

    async def _step(
        self, desk: Desk, journal: Journal, upto: Sequence[Tally], reference: Reference, now_ms: int
    ) -> list[Alert]:
        """Judge the last of the windows `upto`."""
        window, policy = upto[-1], self._policy
        told: list[Alert] = []
        if reference.profile is not None and window.predictions >= policy.min_predictions:
            bodies = await desk.bodies(journal.key, [window.start_ms])
            sign = look_at_features(journal, window, reference.profile, counts_of(bodies), policy)
            told += follow(journal, sign, policy, now_ms)
            texts = tuple(sorted({name for body in bodies for name in body.non_numeric}))
            journal.note = f"left out, not numeric: {named(texts)}" if texts else ""
        verdict = look_at_labels(journal, upto, reference, policy)
        if verdict is not None:
            told += follow(journal, verdict, policy, now_ms)
            journal.performance = self._with_change(journal.performance, upto)
        journal.judged_until_ms = window.start_ms
        return told

    def _with_change(self, verdict: PerformanceVerdict, upto: Sequence[Tally]) -> PerformanceVerdict:
        windows = error_windows(upto, self._policy)
        place = self._detector.last_change(windows)
        changed = place is not None and place >= len(windows) - self._policy.recent_windows
        return replace(verdict, error_change=changed)


async def _own_baseline(desk: Desk, journal: Journal, windows: Sequence[Tally]) -> OwnBaseline:
    counts = counts_of(await desk.bodies(journal.key, [each.start_ms for each in windows]))
    return own_profile(windows, counts) if counts else OwnBaseline("", windows[-1].start_ms)
