"""What the judge remembers of a model version between two rounds."""

from msgspec import Struct

from schemas.health import DegradationCause, DriftState
from services.drift.domain.rows import VersionKey


class FeatureVerdict(Struct, frozen=True):
    """One feature in one window."""

    feature: str
    state: DriftState
    values: int
    psi: float | None = None
    ks: float | None = None
    ks_p_value: float | None = None


class WindowVerdict(Struct, frozen=True):
    """One window that was looked at: how much it held and which features drifted."""

    start_ms: int
    predictions: int
    drifted: tuple[str, ...]
    judged: bool = True
    """Some feature had enough values, and a clear answer."""


class PerformanceVerdict(Struct, frozen=True):
    """How right the version was over its recent windows."""

    score: float | None = None
    reference_score: float | None = None
    labelled: int = 0
    p_value: float = 1.0
    level: float = 0.0
    bad: bool = False
    well: bool = False
    """Within half the margin of the reference: what ends an episode."""
    since_ms: int = 0
    """Start of the first bad window, where `bad`."""
    error_change: bool = False
    reason: str = ""


class Episode(Struct):
    """A stretch of drift or lost performance that people were told of once."""

    cause: DegradationCause
    alert_id: str
    opened_at_ms: int
    since_ms: int
    title: str
    calm: int = 0
    """Windows in a row without a sign of it."""
    features: tuple[str, ...] = ()
    """Of a drift: those that drifted. It ends when all of them were judged, and found stable."""
    told: bool = False
    """The degradation was published."""


class OwnBaseline(Struct, frozen=True):
    """A reference taken from production, as JSON of `schemas.versions.ReferenceProfile`."""

    profile: str
    """"" when no feature was numeric."""
    until_ms: int
    """Start of the last window that is part of it."""


class OwnScore(Struct, frozen=True):
    """A reference score taken from the first labels."""

    score: float
    until_ms: int
    labelled: int = 100
    """Of a journal from before this was kept: the fewest there can be."""


class Journal(Struct):
    """Everything about one version that the next round needs; saved as JSON."""

    key: VersionKey
    judged_until_ms: int = -1
    """Start of the last window that was judged."""
    reference_id: str = ""
    baseline: OwnBaseline | None = None
    score: OwnScore | None = None
    looks: int = 0
    score_looks: int = 0
    recent: list[WindowVerdict] = []
    features: tuple[FeatureVerdict, ...] = ()
    performance: PerformanceVerdict = PerformanceVerdict()
    episodes: list[Episode] = []
    note: str = ""
    """What keeps the judge from judging, "" for nothing."""

    def episode(self, cause: DegradationCause) -> Episode | None:
        """Return the open episode of this cause."""
        return next((each for each in self.episodes if each.cause is cause), None)
