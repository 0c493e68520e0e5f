"""The stack for tests and notebooks: Kafka and PostgreSQL, real ones, as long as a `with` block lasts.

    with LocalStack.start(home=tmp_path) as stack:
        stack.kafka_bootstrap_servers, stack.database_url
        stack.kill_kafka()          # kill -9; the supervisor starts it again
        stack.wait_ready()

`KAFKA_BOOTSTRAP_SERVERS`, `DATABASE_URL` and `MLFLOW_TRACKING_URI` in the environment replace the parts one
by one; `STACK=docker` takes containers instead where a Docker engine answers.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from deploy.local import kafka, mlflow, postgres
from deploy.local.assembly import Assembly, Wanted, assemble
from deploy.local.containers import start_containers
from deploy.local.errors import StackError
from deploy.local.homes import open_home
from deploy.local.logs import StackLogs
from deploy.local.session import Session
from deploy.local.supervisor import Supervisor

Result = TypeVar("Result")
START_TIMEOUT_S = 180.0


class LocalStack:
    """A running stack, supervised from a thread of this process. Its methods block; any thread may call."""

    def __init__(self, session: Session, assembly: Assembly, environment: Mapping[str, str]) -> None:
        """For `start`, which does the rest."""
        self._addresses = assembly.addresses
        self._session, self._undo = session, ExitStack()
        self._supervisor = Supervisor(
            assembly.parts,
            environment,
            StackLogs(session.home.logs),
            self._changed,
        )
        self._loop = asyncio.new_event_loop()
        # The children die with the thread that started them, so this one lives until `stop`.
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-stack", daemon=True)

    @classmethod
    def start(cls, home: Path, mlflow: bool = False, environment: Mapping[str, str] | None = None) -> Self:
        """Starts the parts and returns when they answer; StackError tells why they do not.

        `environment` stands in for `os.environ`. The folder `home` is made if it is not there, and kept.
        """
        told = dict(os.environ if environment is None else environment)
        with ExitStack() as undo:
            if told.get("STACK") == "docker":
                told |= start_containers(told, undo)
            session = undo.enter_context(closing(Session.open(open_home(Path(home).resolve()))))
            assembly = assemble(session.home, told, Wanted(mlflow=mlflow, services=False))
            undo.callback(assembly.forget_ports)
            stack = cls(session, assembly, told)
            undo.callback(stack._stop_supervisor)
            stack._begin()
            stack._undo = undo.pop_all()
        return stack

    @property
    def kafka_bootstrap_servers(self) -> str:
        """`host:port`, or several with commas when given from outside."""
        return self._addresses[kafka.VARIABLE]

    @property
    def database_url(self) -> str:
        """A URL that asyncpg accepts; the user may create databases."""
        return self._addresses[postgres.VARIABLE]

    @property
    def mlflow_tracking_uri(self) -> str:
        """The MLflow server's URL; StackError when the stack was started without."""
        if mlflow.VARIABLE not in self._addresses:
            raise StackError(
                "This stack has no MLflow.", "Start it with LocalStack.start(home, mlflow=True)."
            )
        return self._addresses[mlflow.VARIABLE]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell a process of Trimtab where everything is."""
        return dict(self._addresses)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Returns when every part answers, after a kill as after a restart; StackError when one does not."""
        self._call(self._supervisor.wait_ready(timeout_s))

    def kill_kafka(self) -> None:
        """Kill -9, as a crash; the supervisor starts it again at once. `wait_ready` waits for it."""
        self._kill(kafka.NAME)

    def restart_kafka(self) -> None:
        """Orderly stop and start; returns when it answers again."""
        self._restart(kafka.NAME)

    def kill_postgres(self) -> None:
        """Kill -9, as a crash; the supervisor starts it again at once. `wait_ready` waits for it."""
        self._kill(postgres.NAME)

    def restart_postgres(self) -> None:
        """Orderly stop and start; returns when it answers again."""
        self._restart(postgres.NAME)

    def stop(self) -> None:
        """Stops everything in order; no process is left. May be called again."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _begin(self) -> None:
        self._thread.start()
        self._call(self._start())

    def _stop_supervisor(self) -> None:
        if self._thread.is_alive():
            self._call(self._supervisor.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._supervisor.start()
        await self._supervisor.wait_ready(START_TIMEOUT_S)

    def _changed(self) -> None:
        self._session.record(self._supervisor, self._addresses)

    def _kill(self, name: str) -> None:
        async def kill() -> None:
            self._supervisor.kill(name)

        self._call(kill())

    def _restart(self, name: str) -> None:
        self._call(self._supervisor.restart_and_wait(name, START_TIMEOUT_S))

    def _call(self, work: Coroutine[object, object, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
