"""Candidates are made in child processes: a memory of their own, a lower priority, a time limit."""

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel

from libs.common.errors import Misconfigured, Refused, Retryable
from libs.common.telemetry.names import RETRAINING_RUNNING, collector
from schemas.versions import ReferenceProfile
from services.retrainer.domain.report import (
    FAILURE,
    REFERENCE,
    REGISTERED,
    REGISTRATION_ORDER,
    REPORT,
    TRAINING_ORDER,
    Failure,
    Registered,
    RegistrationOrder,
    TrainingOrder,
    TrainingReport,
)
from services.retrainer.domain.runs import Crashed
from services.retrainer.ports import TrainingResult

LOG_TAIL_CHARS = 1_000
# One processor per child: numeric libraries otherwise start a thread per core and fight the live services.
_CALM: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
)


@dataclass(frozen=True, slots=True)
class WorkshopSettings:
    """Where and how children work."""

    folder: Path
    train_deadline_ms: int
    register_deadline_ms: int
    niceness: int


def own_folder(folder: Path) -> None:
    """Make the work folder, for us alone, where it is missing.

    What lies in it is loaded into models, and its name can be guessed: raises Misconfigured unless it is a
    real directory, ours, that nobody else may write. Raises Retryable when it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except FileExistsError:
        found = folder.lstat()
    except OSError as error:
        raise Retryable(f"{folder} cannot be written: {error.strerror}") from error
    problem, next_step = "", f"remove {folder}, or set RETRAINER_WORK_DIR to a folder of your own"
    if not stat.S_ISDIR(found.st_mode):
        problem = "is not a real directory (a link or a file)"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to user {found.st_uid}, not to us ({os.geteuid()})"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = f"has the mode {stat.S_IMODE(found.st_mode):o}: others may write to it"
        next_step = f"look what lies in it, then `chmod 700 {folder}`, or set RETRAINER_WORK_DIR to another"
    if problem:
        raise Misconfigured(f"the work folder {folder} {problem}", next_step=next_step)


class ChildWorkshop:
    """Keeps ports.Workshop's promises with `python -m services.retrainer.trainer` and `.registrar`.

    Every call raises Misconfigured when others may write to the work folder (`own_folder`)."""

    def __init__(self, settings: WorkshopSettings) -> None:
        self._settings = settings

    async def train(self, order: TrainingOrder) -> None:
        """Train in a child; whatever an earlier attempt left is thrown away first."""
        self.clear(order.retraining_id)
        folder = self._place(order.retraining_id, TRAINING_ORDER, order)
        with collector(RETRAINING_RUNNING).track_inprogress():
            await self._run("trainer", folder, self._settings.train_deadline_ms)

    def result(self, retraining_id: str) -> TrainingResult | None:
        """Return what a finished training gave; None when there is none here (any more)."""
        own_folder(self._settings.folder)
        folder = self._folder(retraining_id)
        try:
            report = TrainingReport.model_validate_json((folder / REPORT).read_bytes())
            reference = ReferenceProfile.model_validate_json((folder / REFERENCE).read_bytes())
        except (OSError, ValueError):
            return None  # gone, or written by another version of this program: it is made again
        return TrainingResult(report, reference)

    async def register(self, order: RegistrationOrder) -> Registered:
        """Register in a child."""
        folder = self._place(order.retraining_id, REGISTRATION_ORDER, order)
        await self._run("registrar", folder, self._settings.register_deadline_ms)
        try:
            return Registered.model_validate_json((folder / REGISTERED).read_bytes())
        except (OSError, ValueError) as error:
            raise Crashed(f"the registrar left no answer: {error}") from error

    def clear(self, retraining_id: str) -> None:
        """Throw the files of a retraining away."""
        own_folder(self._settings.folder)
        shutil.rmtree(self._folder(retraining_id), ignore_errors=True)

    def _folder(self, retraining_id: str) -> Path:
        # Ids come from outside and may hold anything; a digest-like name holds nothing dangerous.
        return self._settings.folder / retraining_id.encode().hex()[:200]

    def _place(self, retraining_id: str, name: str, order: BaseModel) -> Path:
        own_folder(self._settings.folder)
        folder = self._folder(retraining_id)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / FAILURE).unlink(missing_ok=True)
            (folder / name).write_text(order.model_dump_json(indent=2), encoding="utf-8")
        except OSError as error:
            raise Retryable(f"{folder} cannot be written: {error.strerror}") from error
        return folder

    async def _run(self, module: str, folder: Path, deadline_ms: int) -> None:
        """Run a child to its end; it never outlives this call. Raises as ports.Workshop says."""
        with (folder / f"{module}.log").open("wb") as log_file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"services.retrainer.{module}", str(folder)),
                *("--niceness", str(self._settings.niceness)),
                stdin=asyncio.subprocess.PIPE,  # the leash: it ends when this process does
                stdout=log_file,
                stderr=log_file,
                env={**os.environ, **_CALM},
            )
        try:
            await asyncio.wait_for(process.wait(), deadline_ms / 1_000)
        except TimeoutError as error:
            raise Crashed(f"the {module} was ended after its limit of {deadline_ms} ms") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            _complain(module, folder, process.returncode)


def _complain(module: str, folder: Path, code: int) -> None:
    try:
        failure = Failure.model_validate_json((folder / FAILURE).read_bytes())
    except (OSError, ValueError) as error:
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        tail = (folder / f"{module}.log").read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]
        raise Crashed(f"the {module} {how}: {tail.strip()}") from error
    raise (Retryable if failure.retryable else Refused)(failure.reason)
