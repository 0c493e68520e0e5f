"""Random numbers by name: adding, leaving out or reordering cells changes no other cell's numbers."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np


@dataclass(frozen=True, slots=True)
class Ground:
    """What every simulation stands on."""

    seed: int
    scale: float = 1.0
    """Share of the full number of runs."""

    def chance(self, *names: object) -> np.random.Generator:
        """Return the generator of the cell of these names, the same on every machine."""
        said = "/".join(str(each) for each in (self.seed, *names))
        digest = sha256(said.encode()).digest()
        words = [int.from_bytes(digest[at : at + 4], "big") for at in range(0, 32, 4)]
        return np.random.Generator(np.random.PCG64(words))

    def runs(self, full: int) -> int:
        """Return how many runs to make where the full simulation makes so many; 100 at least."""
        return max(100, round(full * self.scale))
