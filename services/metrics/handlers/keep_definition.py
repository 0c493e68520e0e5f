"""Keep what is said on `experiments`."""

from libs.common.errors import Poison
from schemas.event import Contract
from schemas.experiments import Experiment
from services.metrics.domain.definitions import Definitions
from services.metrics.ports import DefinitionStore


class KeepDefinition:
    """The judge's: definitions go to its store, and survive it."""

    def __init__(self, store: DefinitionStore) -> None:
        self._store = store

    async def __call__(self, event: Contract) -> None:
        """Remember an experiment; an older revision changes nothing."""
        await self._store.keep(_experiment(event))


class KeepPlan:
    """Ingest's: plans are read anew at every start, and held in memory."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    async def __call__(self, event: Contract) -> None:
        """Remember what an experiment measures; an older revision changes nothing."""
        self._definitions.keep(_experiment(event))


def _experiment(event: Contract) -> Experiment:
    if not isinstance(event, Experiment):
        raise Poison(f"not an experiment: {type(event).__name__}")
    return event
