"""Children: what they cannot do is told, they have a time limit, and they do not outlive the worker."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from libs.common.errors import Misconfigured, Refused, Retryable
from services.retrainer.adapters.registry import HttpRegistry
from services.retrainer.adapters.workshop import ChildWorkshop, WorkshopSettings, own_folder
from services.retrainer.domain.report import TRAINING_ORDER, TrainingOrder
from services.retrainer.domain.runs import Crashed
from services.retrainer.entrypoints.child import EXIT_ORPHANED

CHECKOUT = Path(__file__).parents[3]


def workshop(folder: Path, deadline_ms: int = 60_000) -> ChildWorkshop:
    """A workshop with this time limit."""
    return ChildWorkshop(WorkshopSettings(folder, deadline_ms, deadline_ms, 0))


def order(folder: Path) -> TrainingOrder:
    """An order for a model without any examples; its id tries to leave the folder."""
    return TrainingOrder(
        retraining_id="../../r1",
        model="m",
        cause="request",
        reason="",
        examples_dir=folder / "examples",
        from_ms=0,
        until_ms=1,
        max_examples=10,
        trainer="random_forest",
        mlflow_tracking_uri="http://127.0.0.1:9",
        registry_timeout_ms=100,
    )


async def test_child_tells_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order without examples comes back as Refused with the child's own words, and leaves no result."""
    monkeypatch.chdir(CHECKOUT)
    place = tmp_path / "work"
    with pytest.raises(Refused, match="no labelled examples of m between 0 and 1 ms"):
        await workshop(place).train(order(tmp_path))
    assert workshop(place).result("../../r1") is None
    assert [each.parent for each in place.iterdir()] == [place]
    workshop(place).clear("../../r1")
    assert not list(place.iterdir())


async def test_child_is_ended_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that takes longer than its limit is killed, and that is said."""
    monkeypatch.chdir(CHECKOUT)
    with pytest.raises(Crashed, match="ended after its limit of 50 ms"):
        await workshop(tmp_path, deadline_ms=50).train(order(tmp_path))


async def test_child_crash_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that dies of something unforeseen is a crash, with the end of its log."""
    monkeypatch.chdir(tmp_path)  # where there is no such module
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with pytest.raises(Crashed, match=r"trainer exited with 1: (?s:.*)"):
        await workshop(tmp_path).train(order(tmp_path))


async def test_child_does_not_outlive_the_worker(tmp_path: Path) -> None:
    """When the worker's end of the pipe closes, however it died, the child leaves at once."""
    script = (
        "import sys, time; from services.retrainer.entrypoints.child import run_child;"
        "sys.exit(run_child('x', lambda folder: time.sleep(600)))"
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path)), stdin=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    assert child.stdin is not None
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 30) == EXIT_ORPHANED


def test_unwritable_folder_is_waited_for(tmp_path: Path) -> None:
    """A work folder that cannot be made is an outage: somebody can make room."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Retryable, match="cannot be written"):
        workshop(tmp_path / "file" / "work")._place("r", TRAINING_ORDER, order(tmp_path))


async def test_registry_that_is_away_is_an_outage() -> None:
    """Nobody listening where MLflow should is Retryable for every call."""
    registry = HttpRegistry("http://127.0.0.1:9", timeout_ms=500)
    with pytest.raises(Retryable, match="does not answer"):
        await registry.exists("m", "1")
    with pytest.raises(Retryable, match="does not answer"):
        await registry.set_alias("m", "champion", None)
    await registry.close()


def test_work_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    """A folder that is missing is made with no rights for others, and one like that is used again."""
    place = tmp_path / "above" / "work"
    for _ in range(2):
        own_folder(place)
        assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """What lies in the folder is loaded into models: where others may write nothing is trained."""
    place = tmp_path / "work"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(Misconfigured, match="others may write to it") as caught:
        own_folder(place)
    assert "chmod 700" in caught.value.next_step


def test_link_or_file_as_work_folder_is_refused(tmp_path: Path) -> None:
    """A link that somebody laid there beforehand is not followed, wherever it leads."""
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(Misconfigured, match="not a real directory") as caught:
            own_folder(tmp_path / name)
        assert "RETRAINER_WORK_DIR" in caught.value.next_step


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A folder that belongs to somebody else is refused, even with the right bits."""
    (tmp_path / "work").mkdir(mode=0o700)
    os.chown(tmp_path / "work", 12_345, -1)
    with pytest.raises(Misconfigured, match="belongs to user 12345"):
        own_folder(tmp_path / "work")


async def test_folder_is_looked_at_before_each_work(tmp_path: Path) -> None:
    """A folder that was opened to others while the worker runs is not worked in, and no result is read."""
    place = tmp_path / "work"
    place.mkdir(mode=0o700)
    place.chmod(0o777)
    with pytest.raises(Misconfigured):
        await workshop(place).train(order(tmp_path))
    with pytest.raises(Misconfigured):
        workshop(place).result("r1")
