"""How far a partition has been read, in event time: what may be forgotten hangs on it, no number does."""


class Clocks:
    """One clock for each topic, and one for both that moves when the log has been read to a mark.

    The topics are read side by side and not in step: from the beginning of a long log, one may be days ahead
    of the other. So what waits for exposures is judged by theirs, and what waits for conversions too by the
    one that is behind. Where a topic has nothing to read its clock stands still; the mark moves both then.
    """

    def __init__(self) -> None:
        self.exposed_until_ms = 0
        """The latest event time of any exposure."""
        self.converted_until_ms = 0
        """The latest event time of any conversion."""
        self._marked_ms: int | None = None
        self._read_ms = 0
        """Everything up to this event time has been read, of both topics, but for what comes late."""

    @property
    def newest_ms(self) -> int:
        """Return the latest event time of anything."""
        return max(self.exposed_until_ms, self.converted_until_ms)

    @property
    def exposures_ms(self) -> int:
        """Return the event time up to which exposures have been read, but for what comes late."""
        return max(self.exposed_until_ms, self._read_ms)

    @property
    def all_ms(self) -> int:
        """Return the event time up to which everything has been read, but for what comes late."""
        return max(min(self.exposed_until_ms, self.converted_until_ms), self._read_ms)

    def expose(self, at_ms: int) -> None:
        """Note the event time of an exposure that has been taken in."""
        self.exposed_until_ms = max(self.exposed_until_ms, at_ms)

    def convert(self, at_ms: int) -> None:
        """Note the event time of a conversion that has been taken in."""
        self.converted_until_ms = max(self.converted_until_ms, at_ms)

    def mark(self) -> None:
        """Note that all that the log held at the last mark has been read, and set the next one."""
        self._read_ms = max(self._read_ms, self._marked_ms or 0)
        self._marked_ms = self.newest_ms
