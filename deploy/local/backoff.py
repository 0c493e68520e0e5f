"""When a part that died is started again: at once, then ever later, and not without end."""

from dataclasses import dataclass, field


@dataclass
class Restarts:
    """The deaths of one part. The first restart is immediate, the next after `base_s`, doubling to `cap_s`.

    More than `limit` deaths within `window_s` seconds mean that restarting does not help.
    """

    base_s: float = 0.5
    cap_s: float = 10.0
    limit: int = 5
    window_s: float = 60.0
    _deaths: list[float] = field(default_factory=list)

    def record(self, now_s: float) -> float | None:
        """Seconds to wait before the next start after a death at `now_s`; None when it is time to give up."""
        self._deaths = [death for death in self._deaths if now_s - death < self.window_s]
        self._deaths.append(now_s)
        recent = len(self._deaths)
        if recent > self.limit:
            return None
        return 0.0 if recent == 1 else min(self.cap_s, self.base_s * 2.0 ** (recent - 2))
