"""The topics that are followed, and what is done with each event."""

import logging

from libs.common.errors import Poison
from schemas.event import Contract
from schemas.experiments import Verdict, VerdictKind
from schemas.versions import ModelState
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.follow_verdict import follow_verdict
from services.assignment.ports import Desk

log = logging.getLogger(__name__)


class VerdictDoor:
    """Takes what `verdicts` carries."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, event: Contract) -> None:
        """Follow one verdict. Raises Poison for anything else, Retryable, Conflict."""
        if not isinstance(event, Verdict):
            raise Poison(f"a verdict was expected, not {type(event).__name__}")
        why_not = await follow_verdict(self._desk, event)
        if event.kind is not VerdictKind.HOLD:
            log.info("%s %s: %s", event.kind, event.experiment_id, why_not or "followed")


class ModelDoor:
    """Takes what `models` carries."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, event: Contract) -> None:
        """Follow one model's state. Raises Poison for anything else, Retryable, Conflict."""
        if not isinstance(event, ModelState):
            raise Poison(f"a model's state was expected, not {type(event).__name__}")
        why_not = await follow_model(self._desk, event)
        log.info("%s at revision %d: %s", event.model, event.revision, why_not or "a trial began")
