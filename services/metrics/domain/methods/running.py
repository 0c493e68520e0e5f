"""Always valid: one may look at any moment."""

from libs.statistics.differences import NotEnough
from services.metrics.domain.always_valid import Evidenced
from services.metrics.domain.matters import Matter
from services.metrics.domain.methods.base import Shown, always_valid


def show(_matter: Matter, found: Evidenced) -> Shown | NotEnough:
    """Return the evidence itself."""
    return always_valid(found)
