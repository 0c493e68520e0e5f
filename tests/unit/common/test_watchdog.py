"""The watchdog of a consumer: when it barks, and when it does not."""

import asyncio

import pytest

from libs.common.bus.ports import TopicPartition
from libs.common.clock import ManualClock
from libs.common.entrypoints import watchdog
from libs.common.entrypoints.watchdog import Progress, Watchdog
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health

PLACE = TopicPartition("models", 0)


class Kennel:
    """A watchdog whose looks are 400 ms of its clock apart; it barks after 1 s."""

    def __init__(self, answers: list[str], *, at_work: bool = False) -> None:
        self.clock = ManualClock()
        self.progress = Progress(self.clock)
        self.health = Health(self.clock)
        self.looks = 0
        self._answers = answers
        self._stop = Stop()
        self.progress.at_work = int(at_work)

    async def watch(self) -> None:
        """Watch until the answers are used up."""
        dog = Watchdog(self.progress, stall_ms=1_000, clock=self.clock, health=self.health)
        async with asyncio.timeout(10):
            await dog.run(self._behind, self._stop)

    async def _behind(self) -> str:
        self.clock.advance(400)
        answer = self._answers[self.looks]
        self.looks += 1
        if self.looks == len(self._answers):
            self._stop.set("the answers are used up")
        if answer == "away":
            raise OSError("no broker")
        return answer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "WATCH_INTERVAL_MS", 1)


async def test_it_barks_when_records_wait_and_nothing_moves() -> None:
    """After more than `stall_ms` with something to read it raises, and names what waits."""
    kennel = Kennel(["models-0: 3 records"] * 9)
    with pytest.raises(Retryable, match="stands still for 1000 ms: models-0: 3 records"):
        await kennel.watch()
    assert kennel.looks == 3


async def test_an_unknown_end_of_the_log_counts_as_standing_still() -> None:
    """A broker that does not answer is no proof that anything moves."""
    with pytest.raises(Retryable, match=r"the end of the log is unknown \(OSError: no broker\)"):
        await Kennel(["away"] * 9).watch()


@pytest.mark.parametrize(
    ("answers", "at_work"), [([""] * 9, False), (["behind", "behind", ""] * 3, False), (["behind"] * 9, True)]
)
async def test_it_is_quiet_otherwise(answers: list[str], at_work: bool) -> None:
    """With nothing to read, with something read now and then, or with a slow handler, it lets the worker
    be, and gives the heartbeat."""
    kennel = Kennel(answers, at_work=at_work)
    await kennel.watch()
    assert kennel.looks == 9
    assert kennel.health.silence_ms() == 400


def test_progress_says_what_is_left() -> None:
    """The lag counts from the last record handled, or from where reading began; a new assignment forgets."""
    progress = Progress(ManualClock())
    assert progress.lag({PLACE: 7}) == "", "unknown"
    progress.begins_at(PLACE, 4)
    assert progress.lag({PLACE: 7}) == "models-0: 3 records"
    progress.handled(PLACE, 5)
    progress.begins_at(PLACE, 0)
    assert progress.lag({PLACE: 7}) == "models-0: 1 records"
    progress.handled(PLACE, 6)
    assert progress.lag({PLACE: 7}) == ""
    progress.reassigned()
    assert not progress.knows(PLACE)
