"""ADWIN (Bifet and Gavaldà 2007) on the error stream, from river."""

from collections.abc import Iterator, Sequence

from river.drift import ADWIN

from services.drift.domain.performance import ErrorWindow

DELTA = 0.002
MAX_POINTS = 200
"""Of one window: more labels are thinned to so many points with the same share of errors."""


class AdwinDetector:
    """Keeps the promises of `ports.ErrorDetector`.

    Within a window the order of the answers is not kept, so its errors are spread evenly over its points:
    the same counts always give the same stream. It starts anew each time: the look-back is the caller's.
    """

    def last_change(self, windows: Sequence[ErrorWindow]) -> int | None:
        """Return the place of the window in which ADWIN saw a change last, None when it saw none."""
        detector = ADWIN(delta=DELTA)  # type: ignore[no-untyped-call]
        last = None
        for place, window in enumerate(windows):
            for error in _points(window):
                detector.update(error)  # type: ignore[no-untyped-call]
                if detector.drift_detected:
                    last = place
        return last


def _points(window: ErrorWindow) -> Iterator[int]:
    """0 and 1 with the window's share of errors, as evenly as whole numbers allow."""
    points = min(window.labelled, MAX_POINTS)
    errors = round(window.errors * points / window.labelled) if points else 0
    for number in range(points):
        yield (number + 1) * errors // points - number * errors // points
