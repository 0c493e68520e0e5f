"""Keep who is champion and challenger, and their reference profiles."""

from schemas.versions import ModelState
from services.drift.ports import Ledger


class LearnModel:
    """Keeps each model's latest state in the record, where whoever leads the judges finds it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, state: ModelState) -> None:
        """Keep `state` unless a later revision is known. Raises Retryable when the record does not answer."""
        await self._ledger.learn(state)
