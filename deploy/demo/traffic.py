"""The production service of the demo: it serves digits, and tells Trimtab what happened.

It uses the public client and HTTP only. Requests come from a population of units; each gets the version
that its assignment names, answers with it, and reports: the prediction, the user's `accepted` (likely when
the reading was right), and a little later the true label.
"""

import heapq
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from deploy.demo.digits import FEATURES, Images, jitter, load_pools, sensor_fault
from deploy.demo.ledger import CONVERSION
from deploy.demo.registry import Classifier, load_version
from trimtab import Trimtab

TICK_S = 0.05
MAX_PER_TICK = 200
ACCEPTS_RIGHT, ACCEPTS_WRONG = 0.92, 0.15
LABEL_DELAY_S = (0.5, 2.0)
EVENTS_PER_REQUEST = 2.9
"""A prediction and its label, nine in ten times an `accepted`, now and then an exposure."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much traffic, from whom, and where the versions lie."""

    model: str
    mlflow_url: str
    events_per_s: float = 500.0
    units: int = 50_000
    seed: int = 7


@dataclass(slots=True)
class Recent:
    """The last answers of one version: right or wrong."""

    right: deque[bool] = field(default_factory=lambda: deque(maxlen=500))

    def accuracy(self) -> float | None:
        """Return the share of right answers, None before the first."""
        return sum(self.right) / len(self.right) if self.right else None


class Traffic:
    """A thread that serves requests at a steady rate until it is stopped."""

    def __init__(self, client: Trimtab, plan: Plan) -> None:
        self.fault = False
        """True: the sensor is broken, every image from now on is."""
        self.error: BaseException | None = None
        self.recent: dict[str, Recent] = defaultdict(Recent)
        self.last_served_ms: dict[str, float] = {}
        """Per version, when it last answered, milliseconds since 1970."""
        self._client = client
        self._plan = plan
        self._random = np.random.default_rng(plan.seed)
        self._pools = load_pools()
        self._versions: dict[str, Classifier] = {}
        self._labels: list[tuple[float, int, str, str, str]] = []
        self._sent = 0
        self._running = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        """Let the requests come."""
        self._running.set()
        self._thread.start()

    def pause(self) -> None:
        """Let no more requests come; outstanding labels still do."""
        self._running.clear()

    def resume(self) -> None:
        """Let requests come again."""
        self._running.set()

    def outstanding_labels(self) -> int:
        """Return how many labels have yet to come."""
        return len(self._labels)

    def stop(self) -> None:
        """End the thread; labels that have yet to come are given up."""
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - kept, and raised by whoever waits
            # The acts look at `error` between their waits and fail with it.
            self.error = error

    def _serve(self) -> None:
        due, last_s = 0.0, time.monotonic()
        while not self._stopping.wait(TICK_S):
            now_s = time.monotonic()
            self._send_labels(now_s)
            if self._running.is_set():
                due += (now_s - last_s) * self._plan.events_per_s / EVENTS_PER_REQUEST
                count = min(int(due), MAX_PER_TICK)
                # What could not be served in time is lost demand, not a debt for the next tick.
                due = min(due - count, 1.0)
                self._answer(count)
            last_s = now_s

    def _answer(self, count: int) -> None:
        chosen = self._random.integers(0, len(self._pools.production_images), count)
        images = jitter(self._pools.production_images[chosen], self._random)
        if self.fault:
            images = sensor_fault(images)
        labels = self._pools.production_labels[chosen]
        units = [f"unit-{number}" for number in self._random.integers(0, self._plan.units, count)]
        groups: dict[str, list[int]] = defaultdict(list)
        for index, unit_id in enumerate(units):
            version = self._client.assign(unit_id, self._plan.model).model_version
            if version is not None:
                groups[version].append(index)
        for version, members in groups.items():
            self.last_served_ms[version] = time.time() * 1_000
            self._predict(version, images[members], [(units[i], str(labels[i])) for i in members])

    def _predict(self, version: str, images: Images, asked: list[tuple[str, str]]) -> None:
        if version not in self._versions:
            self._versions[version] = load_version(self._plan.mlflow_url, self._plan.model, version)
        served = self._versions[version]
        started_s = time.perf_counter()
        chances = served.predict_proba(images)
        latency_ms = (time.perf_counter() - started_s) * 1_000 / len(asked)
        for image, chance, (unit_id, label) in zip(images, chances, asked, strict=True):
            best = int(np.argmax(chance))
            output = str(served.classes_[best])
            prediction_id = self._client.predict(
                unit_id,
                model=self._plan.model,
                model_version=version,
                features=dict(zip(FEATURES, image.tolist(), strict=True)),
                output=output,
                confidence=float(chance[best]),
                latency_ms=latency_ms,
            )
            self._follow_up(version, unit_id, prediction_id, label, right=output == label)

    def _follow_up(self, version: str, unit_id: str, prediction_id: str, label: str, *, right: bool) -> None:
        self.recent[version].right.append(right)
        if self._random.random() < (ACCEPTS_RIGHT if right else ACCEPTS_WRONG):
            self._client.convert(unit_id, CONVERSION)
        self._sent += 1
        due_s = time.monotonic() + self._random.uniform(*LABEL_DELAY_S)
        # The counter keeps the heap from comparing ids when two labels are due at once.
        heapq.heappush(self._labels, (due_s, self._sent, unit_id, prediction_id, label))

    def _send_labels(self, now_s: float) -> None:
        while self._labels and self._labels[0][0] <= now_s:
            _, _, unit_id, prediction_id, label = heapq.heappop(self._labels)
            self._client.feedback(unit_id, prediction_id, model=self._plan.model, label=label)
