"""Show: take what happened on the bus into the views, and tell those who listen."""

from dataclasses import dataclass

from schemas.event import Contract
from services.gateway.domain.live import Live
from services.gateway.domain.views import Views

FOLLOWED = (
    "experiments",
    "results",
    "verdicts",
    "rollbacks",
    "model-health",
    "alerts",
    "retraining",
    "models",
)


@dataclass(frozen=True, slots=True)
class Show:
    """The handler of every followed topic."""

    views: Views
    live: Live

    async def __call__(self, event: Contract) -> None:
        """Apply the event; what changed nothing (an older or repeated record) is not told."""
        if self.views.apply(event):
            self.live.tell(event)
