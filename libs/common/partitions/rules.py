"""What every store refuses: one place, so that they cannot differ."""

from collections.abc import Mapping

from libs.common.errors import Fenced, Refused
from libs.common.partitions.ports import Lease

KEPT_SNAPSHOTS = 2


def fenced(lease: Lease) -> Fenced:
    """Return the error for a write with an epoch that is not the latest."""
    return Fenced(f"partition {lease.partition}: epoch {lease.epoch} is not the latest: another owner has it")


def merged(published: Mapping[str, int], offsets: Mapping[str, int]) -> dict[str, int]:
    """Return what is covered after a publish: topics that `offsets` does not name stay where they are.

    Raises Refused when a topic would move backwards. The same offsets again are fine.
    """
    for topic, offset in offsets.items():
        if offset < published.get(topic, 0):
            raise Refused(
                f"results of {topic} cover offset {published[topic]} and will not go back to {offset}",
                field="offsets",
                next_step="publish nothing before the replay has reached the lease's published offsets",
            )
    return {**published, **offsets}
