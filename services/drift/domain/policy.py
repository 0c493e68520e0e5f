"""What counts as drift and as lost performance, and how sure one must be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePolicy:
    """The thresholds of the judge. Every verdict needs both: an effect that matters, and valid evidence.

    Evidence is spent: the k-th look at a version may err with probability α / (k (k + 1)), divided by the
    number of features, so that over a version's whole life the chance of any false drift verdict on an
    unmoved feature stays below `alpha`, and likewise that of a false loss of performance. This treats the
    predictions of a window as independent; units that come back weaken it, which is why drift must also
    persist and be large.

    `drift_degrades` is off by default: a moved input is a reason for people to look, but it often costs no
    accuracy, and a retraining that nobody's labels asked for may make a good model worse.
    """

    window_ms: int
    lateness_ms: int
    """A window is closed when event time has passed its end by so much."""
    idle_ms: int
    """A partition whose event time stands still for so long, while others move, is waited for no more."""
    min_predictions: int = 100
    """Values of a feature below which a window says nothing about it."""
    reference_predictions: int = 2_000
    """Without a registered profile, the first windows that hold so many become the reference."""
    reference_labels: int = 500
    """Without a registered score, the accuracy on the first so many labels becomes the reference."""
    alpha: float = 0.01
    psi_threshold: float = 0.2
    """What PSI must exceed beyond what it is on average when nothing moved."""
    persist: int = 2
    """In how many of the last `persist_of` windows a feature must have drifted."""
    persist_of: int = 3
    margin: float = 0.10
    """The loss of accuracy against the reference, absolute, from which a model counts as degraded."""
    floor: float | None = None
    """The accuracy below which it counts as degraded whatever the reference."""
    recent_windows: int = 6
    """Windows with labels whose accuracy is compared with the reference."""
    min_labelled: int = 100
    drift_degrades: bool = False
    error_windows: int = 64
    """Windows that the detector of error changes looks back on."""
    keep_windows: int = 256
    """Judged windows that are kept per version."""
    max_steps: int = 100
    """Windows of a version that one round judges; the rest follows in the next."""
