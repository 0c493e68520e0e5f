"""What an experiment shares with those that are live: exclusion groups and holdouts."""

from collections.abc import Iterable, Iterator, Sequence

from libs.common.errors import Refused
from schemas.experiments import Experiment, ExperimentDefinition

SHOWN = 10
"""Free shares named in an error."""

Share = tuple[float, float]


def check_neighbours(starting: ExperimentDefinition, live: Iterable[Experiment]) -> None:
    """Raise Refused when `starting` does not go together with an experiment that is live.

    The shares of an exclusion group may not overlap, a holdout has one share, and each of both one hash: the
    same unit would lie at another place by another hash.
    """
    others = [each for each in live if each.experiment_id != starting.experiment_id]
    _check_exclusion(starting, others)
    _check_holdout(starting, others)


def free_shares(taken: Iterable[Share]) -> Iterator[Share]:
    """Return the parts of [0, 1) that none of `taken` covers, in order."""
    place = 0.0
    for start, end in sorted(taken):
        if start > place:
            yield place, start
        place = max(place, end)
    if place < 1.0:
        yield place, 1.0


def _check_exclusion(starting: ExperimentDefinition, live: Sequence[Experiment]) -> None:
    mine = starting.exclusion
    if mine is None:
        return
    members = [each for each in live if each.exclusion is not None and each.exclusion.group == mine.group]
    _check_hashing(starting, members, "exclusion", f"group {mine.group}")
    shares = {each.experiment_id: _share(each) for each in members}
    for experiment_id, (start, end) in sorted(shares.items()):
        if mine.start < end and start < mine.end:
            free = [f"[{low}, {high})" for low, high in free_shares(shares.values())]
            raise Refused(
                f"[{mine.start}, {mine.end}) of group {mine.group} overlaps with [{start}, {end}), "
                f"which {experiment_id} has",
                field="exclusion",
                next_step=f"free in the group: {', '.join(free[:SHOWN]) or 'nothing; end one first'}",
            )


def _share(experiment: Experiment) -> Share:
    assert experiment.exclusion is not None, "asked of members of a group only"
    return experiment.exclusion.start, experiment.exclusion.end


def _check_holdout(starting: ExperimentDefinition, live: Sequence[Experiment]) -> None:
    mine = starting.holdout
    if mine is None:
        return
    members = [each for each in live if each.holdout is not None and each.holdout.name == mine.name]
    _check_hashing(starting, members, "holdout", f"holdout {mine.name}")
    for each in members:
        if each.holdout is not None and each.holdout.share != mine.share:
            raise Refused(
                f"holdout {mine.name} has the share {each.holdout.share} in {each.experiment_id}, "
                f"not {mine.share}",
                field="holdout",
                next_step="name the same share, or another holdout",
            )


def _check_hashing(
    starting: ExperimentDefinition, members: Sequence[Experiment], field: str, what: str
) -> None:
    for each in members:
        if each.hashing is not starting.hashing:
            raise Refused(
                f"{each.experiment_id} in {what} has hashing {each.hashing}, not {starting.hashing}",
                field=field,
                next_step=f"use hashing {each.hashing}, or another name",
            )
