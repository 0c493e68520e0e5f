"""A process's life, without a process where that will do."""

import asyncio
import logging
import os
import signal

import pytest

from libs.common.errors import Misconfigured, Retryable
from libs.common.lifecycle import Stop, refuse, run, supervise

DRAIN_MS = 5_000


async def test_sleep_ends_early_when_asked_to_stop() -> None:
    """A sleeper hears Stop at once, says so, and the first reason is the one that is kept."""
    stop = Stop()
    sleeper = asyncio.ensure_future(stop.sleep(60_000))
    await asyncio.sleep(0)
    stop.set("enough")
    stop.set("again")
    assert await asyncio.wait_for(sleeper, 1)
    assert stop.is_set()
    assert stop.reason == "enough"


async def test_sleep_lasts_when_nobody_stops() -> None:
    """A sleep that runs its time says that work goes on; negative times are none."""
    assert not await Stop().sleep(1)
    assert not await Stop().sleep(-5)


def test_a_main_that_returns_exits_0() -> None:
    """Work that ends by itself is a success."""

    async def main(stop: Stop) -> None:
        await asyncio.sleep(0)

    assert run(main, drain_deadline_ms=DRAIN_MS) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(number: signal.Signals) -> None:
    """SIGTERM and SIGINT let main finish what it is at; a second one changes nothing."""
    finished = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), number)
        await stop.wait()
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
        finished.append(stop.reason)

    assert run(main, drain_deadline_ms=DRAIN_MS) == 0
    assert finished == [number.name]


def test_what_does_not_drain_is_cancelled_and_exits_1(caplog: pytest.LogCaptureFixture) -> None:
    """Past the deadline main is cancelled, and the exit code tells."""
    cancelled = []

    async def main(stop: Stop) -> None:
        stop.set("test")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    assert run(main, drain_deadline_ms=20) == 1
    assert cancelled
    assert "not drained within 20 ms" in caplog.text


def test_misconfigured_exits_2_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """What a person must change is said in one line without a stack trace."""

    async def main(stop: Stop) -> None:
        raise Misconfigured("KAFKA_BOOTSTRAP_SERVERS: missing", next_step="set it")

    assert run(main, drain_deadline_ms=DRAIN_MS) == 2
    (record,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert record.getMessage() == "KAFKA_BOOTSTRAP_SERVERS: missing (set it)"
    assert record.exc_info is None
    assert refuse(Misconfigured("no")) == 2


def test_any_other_error_exits_1_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    """A defect is logged with its stack trace."""

    async def main(stop: Stop) -> None:
        raise Retryable("the broker is gone")

    assert run(main, drain_deadline_ms=DRAIN_MS) == 1
    assert any(record.exc_info for record in caplog.records)


async def test_supervise_returns_when_all_have() -> None:
    """Tasks that return without an error end the supervision quietly."""
    seen = []

    async def work(name: str) -> None:
        seen.append(name)

    stop = Stop()
    await supervise(stop, one=work("one"), two=work("two"))
    assert sorted(seen) == ["one", "two"]
    assert not stop.is_set()


async def test_supervise_stops_the_others_when_one_fails() -> None:
    """The first error stops everybody, who may finish, and then it is raised."""
    finished = []
    stop = Stop()

    async def bad() -> None:
        raise Retryable("gone")

    async def good() -> None:
        await stop.wait()
        await asyncio.sleep(0.01)
        finished.append(True)
        raise ValueError("a later error does not hide the first")

    with pytest.raises(Retryable, match="gone"):
        await asyncio.wait_for(supervise(stop, reader=bad(), writer=good()), 5)
    assert finished
    assert stop.reason == "reader failed"


async def test_supervise_names_a_cancelled_task_a_failure() -> None:
    """A task that is cancelled from outside has not done its work."""
    stop = Stop()

    async def gone() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await supervise(stop, reader=gone())
    assert stop.reason == "reader failed"


async def test_cancelling_supervise_cancels_its_tasks() -> None:
    """No task outlives its supervisor, and the error that started it all is not lost."""
    stop = Stop()
    deaf_cancelled = asyncio.Event()

    async def bad() -> None:
        raise Retryable("gone")

    async def deaf() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            deaf_cancelled.set()

    supervisor = asyncio.ensure_future(supervise(stop, bad=bad(), deaf=deaf()))
    await asyncio.wait_for(stop.wait(), 5)
    supervisor.cancel()
    with pytest.raises(Retryable, match="gone"):
        await supervisor
    assert deaf_cancelled.is_set()
