"""What one unit gets, and why."""

from dataclasses import dataclass
from typing import Any, Final

ASSIGNED: Final = "assigned"
"""The unit takes part; it must be exposed."""
FLAG: Final = "flag"
"""A feature flag's variant: nothing is exposed."""
SHADOW: Final = "shadow"
"""Control serves; `shadows` are to be asked too, and shown to nobody."""
FORCED: Final = "forced"
"""The unit was given this variant by name, for testing: it does not count."""
OUTSIDE: Final = "outside"
"""The experiment does not cover this unit: it gets what control carries, without an exposure."""
NOT_TARGETED: Final = "not_targeted"
"""The unit's attributes do not fulfil the experiment's targeting: control, without an exposure."""
EXCLUDED: Final = "excluded"
"""Another part of the experiment's exclusion group owns this unit: control, without an exposure."""
HELD_OUT: Final = "held_out"
"""The unit belongs to the experiment's holdout: control, without an exposure."""
PAUSED: Final = "paused"
"""Everybody gets what control carries while the experiment is paused."""
QUARANTINED: Final = "quarantined"
"""A variant carries a version that was rolled back elsewhere: everybody gets what control carries."""
SETTLED: Final = "settled"
"""The experiment has ended: what it ended with is served."""
UNSUPPORTED: Final = "unsupported"
"""The experiment uses what this version of the client does not know: everybody gets what control carries.
Install a newer client."""
CHAMPION: Final = "champion"
"""The model has no experiment now: its champion serves."""
UNKNOWN: Final = "unknown"
"""Neither an experiment nor a model of that name: use your own default."""
NOT_EXPOSED: Final = "not_exposed"
"""The unit's exposure could not be told: it gets what control carries and takes no part."""
NO_RULES: Final = "no_rules"
"""No rule set has arrived yet: use your own default."""
UNREACHABLE: Final = "unreachable"
"""Asked remotely, and no answer came in time: use your own default."""
BAD_UNIT: Final = "bad_unit"
"""The unit's id is no string of 1 to 256 characters without control characters: use your own default."""
FAILED: Final = "failed"
"""What was given could not be evaluated (the log says why): use your own default."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one unit gets. Where `variant` and `model_version` are None, use your own default."""

    key: str
    variant: str | None = None
    model_version: str | None = None
    payload: Any = None
    experiment_id: str | None = None
    revision: int = 0
    """Of the experiment; 0 where none took part."""
    in_experiment: bool = False
    """True: the unit counts, and must be exposed."""
    reason: str = UNKNOWN
    value: Any = None
    """The payload where the experiment's variants carry payloads, else the model version where they carry
    versions, else the variant's key: one type for all variants of an experiment."""
    shadows: tuple[str, ...] = ()
    """Of a shadow experiment: the keys of the variants to ask as well."""
    attributes: tuple[str, ...] = ()
    """The names of the unit's attributes that its exposure must carry."""
