"""References for versions that came without: their own first windows in production."""

from collections.abc import Callable, Mapping, Sequence

from libs.statistics.accuracy import accuracy
from libs.statistics.profiles import reference_of_counts
from libs.statistics.value_counts import ValueCounts
from services.drift.domain.journal import OwnBaseline, OwnScore
from services.drift.domain.rows import Tally
from services.drift.domain.windows import added


def windows_for_profile(tallies: Sequence[Tally], predictions: int) -> list[Tally]:
    """Return the first closed windows that together hold enough predictions, none when they do not yet."""
    return _first(tallies, predictions, lambda sums: sums.predictions)


def own_profile(windows: Sequence[Tally], counts: Mapping[str, ValueCounts]) -> OwnBaseline:
    """Return the reference that these windows make. Raises ValueError when no feature is numeric."""
    predictions = added(windows).predictions
    profile = reference_of_counts(counts, predictions=predictions, score=None)
    return OwnBaseline(profile.model_dump_json(), windows[-1].start_ms)


def own_score(tallies: Sequence[Tally], labels: int) -> OwnScore | None:
    """Return the accuracy on the first windows that hold enough labels, None when they do not yet."""
    windows = _first(tallies, labels, lambda sums: sums.labelled)
    score = accuracy(added(windows).correct, added(windows).labelled)
    return OwnScore(score, windows[-1].start_ms, added(windows).labelled) if score is not None else None


def _first(tallies: Sequence[Tally], enough: int, size: Callable[[Tally], int]) -> list[Tally]:
    taken: list[Tally] = []
    for each in tallies:
        taken.append(each)
        if size(added(taken)) >= enough:
            return taken
    return []
