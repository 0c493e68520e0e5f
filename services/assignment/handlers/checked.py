"""Save what was checked against other experiments and models, only if these are still as they were."""

from collections.abc import Awaitable, Callable, Sequence

from libs.common.errors import Conflict
from services.assignment.domain.change import Change
from services.assignment.ports import Desk

ATTEMPTS = 20
"""Others may save between a check and its save this often in a row."""


async def save_checked(desk: Desk, prepare: Callable[[], Awaitable[Sequence[Change]]]) -> Sequence[Change]:
    """Save the changes that `prepare` returns after its checks, and return them.

    When anything was saved by somebody else since the checks began, `prepare` is asked again: of two
    experiments that exclude one another, one starts and the other is refused. Raises what `prepare` raises,
    Retryable, and Conflict when others keep coming between.
    """
    for _ in range(ATTEMPTS):
        revision = await desk.store.rules_revision()
        changes = await prepare()
        try:
            await desk.store.save(changes, rules_revision=revision)
        except Conflict:
            if await desk.store.rules_revision() == revision:
                raise
            continue
        return changes
    raise Conflict("experiments keep changing", next_step="try again")
