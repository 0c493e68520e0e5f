"""The supervisor, with little programs in the place of Kafka and the services."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.cleanup import clear_up, leftovers
from deploy.local.errors import StackError
from deploy.local.keeper import PartState
from deploy.local.logs import StackLogs
from deploy.local.parts import Part
from deploy.local.ports import choose_port, hold_port
from deploy.local.probes import http_ready
from deploy.local.processes import start_mark
from deploy.local.state import PartRecord, StackRecord
from deploy.local.supervisor import Supervisor

SERVER = """
    import http.server, os, signal, sys, threading
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(os.environ.get("STATUS", "200")))
            self.end_headers()
            self.wfile.write(b'{"reason": "still reading"}')
        def log_message(self, *arguments): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Ready)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving", flush=True)
    server.serve_forever()
    print("drained", flush=True)
"""
DEADLINE_S = 20.0
HERE = Path(__file__).resolve().parent


def little_server(name: str, folder: Path, *waits_for: str, **environment: str) -> Part:
    """A part that serves /health/ready until SIGTERM."""
    port = choose_port(21000)
    program = folder / "server.py"
    program.write_text(textwrap.dedent(SERVER))
    url = f"http://127.0.0.1:{port.number}"
    return Part(
        name,
        url,
        http_ready(f"{url}/health/ready"),
        command=(sys.executable, "-S", str(program), str(port.number)),
        environment=environment,
        folder=folder,
        waits_for=waits_for,
        ports=(port,),
    )


def supervise(folder: Path, *parts: Part) -> Supervisor:
    """A supervisor that has begun, with logs in the folder."""
    supervisor = Supervisor(parts, os.environ, StackLogs(folder / "logs"))
    supervisor.start()
    return supervisor


async def until(happened: Callable[[], bool]) -> None:
    """Waits for a state, with a deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """`first`, and `second` that waits for it, both ready."""
    supervisor = supervise(
        tmp_path, little_server("second", tmp_path, "first"), little_server("first", tmp_path)
    )
    await supervisor.wait_ready(DEADLINE_S)
    yield supervisor
    await supervisor.stop()


async def test_starts_in_order_and_stops_in_reverse(pair: Supervisor, tmp_path: Path) -> None:
    """The combined log shows first, second; then second, first; each line with its part's name."""
    await pair.stop()
    lines = [line.split() for line in (tmp_path / "logs" / "all.log").read_text().splitlines()]
    assert lines == [
        ["first", "|", "serving"],
        ["second", "|", "serving"],
        ["second", "|", "drained"],
        ["first", "|", "drained"],
    ]
    assert {keeper.state for keeper in pair.keepers.values()} == {PartState.STOPPED}


async def test_a_part_that_dies_is_started_again_on_its_port(pair: Supervisor) -> None:
    """Kill -9 gives a new process at the same address; nobody else is touched."""
    first, second = pair.keepers["first"], pair.keepers["second"]
    assert first.child is not None
    assert second.child is not None
    before, other = first.child.pid, second.child.pid
    pair.kill("first")
    await pair.wait_ready(DEADLINE_S)
    assert first.child.pid != before
    assert second.child.pid == other
    assert first.starts == 2


async def test_a_part_that_cannot_live_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    """The error names the part, its exit code and what it said; nothing is left running."""
    dying = replace(
        little_server("dying", tmp_path),
        command=(sys.executable, "-S", "-c", "print('no config'); raise SystemExit(3)"),
    )
    supervisor = supervise(tmp_path, dying)
    supervisor.keepers["dying"]._restarts.base_s = 0.01
    with pytest.raises(StackError, match=r"dying ended with exit code 3; 5 restarts[\s\S]*no config"):
        await supervisor.wait_ready(DEADLINE_S)
    await supervisor.stop()


async def test_a_program_that_does_not_run_at_all_is_not_tried_twice(tmp_path: Path) -> None:
    """A wheel for another machine gives one clear message."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    supervisor = supervise(tmp_path, replace(little_server("alien", tmp_path), command=(str(broken),)))
    with pytest.raises(StackError, match=r"cannot run .*broken: Exec format error"):
        await supervisor.wait_ready(DEADLINE_S)
    assert supervisor.keepers["alien"].starts == 1
    await supervisor.stop()


async def test_a_part_that_is_never_ready_fails_with_its_own_reason(tmp_path: Path) -> None:
    """What /health/ready said last is in the error."""
    slow = replace(little_server("slow", tmp_path, STATUS="503"), ready_deadline_s=0.5)
    supervisor = supervise(tmp_path, slow)
    with pytest.raises(StackError, match=r"slow was not ready within 0 s: .*503: .*still reading"):
        await supervisor.wait_ready(DEADLINE_S)
    await supervisor.stop()


async def test_a_part_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    """The stop has a deadline, and what the part has started goes with it."""
    stubborn = """if True:
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.fork()
        print('on', flush=True)
        while True:
            time.sleep(1)
    """
    part = replace(
        little_server("stubborn", tmp_path),
        command=(sys.executable, "-S", "-c", stubborn),
        stop_deadline_s=0.3,
    )
    supervisor = supervise(tmp_path, part)
    keeper, log = supervisor.keepers["stubborn"], tmp_path / "logs" / "stubborn.log"
    await until(lambda: log.exists() and log.read_text().count("on") == 2)
    assert keeper.child is not None
    record = PartRecord("stubborn", "", "", keeper.child.pid, keeper.child.start_mark or "")
    assert len(leftovers(record)) == 2
    await supervisor.stop()
    await until(lambda: leftovers(record) == [])


async def test_the_parts_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """After kill -9 of the supervisor the kernel ends its children; no clean-up is needed."""
    script = """
        import asyncio, os, sys
        from pathlib import Path
        from test_supervisor import little_server, supervise
        async def main():
            folder = Path(sys.argv[1])
            supervisor = supervise(folder, little_server("child", folder))
            await supervisor.wait_ready()
            child = supervisor.keepers["child"].child
            print(child.pid, child.start_mark, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2])])}
    command = (sys.executable, "-c", textwrap.dedent(script), str(tmp_path))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    pid, mark = (await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)).decode().split()
    assert start_mark(int(pid)) == mark
    process.kill()
    await process.wait()
    await until(lambda: start_mark(int(pid)) is None)


def test_clearing_up_ends_what_is_left_and_spares_a_recycled_number() -> None:
    """A process with a recorded number but another start is somebody else's."""
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    left = subprocess.Popen(command, start_new_session=True)
    other = subprocess.Popen(command, start_new_session=True)
    try:
        mine = PartRecord("mine", "", "ready", left.pid, start_mark(left.pid) or "", signal.SIGTERM)
        recycled = PartRecord("recycled", "", "ready", other.pid, "another boot:1", signal.SIGTERM)
        cleared = clear_up(StackRecord("ready", 0, "", (mine, recycled)))
        assert cleared == ["mine"]
        assert left.wait(5) == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_a_port_that_another_stack_was_promised_is_not_given_twice() -> None:
    """Between its release and the moment its owner binds it, a port is still taken for other stacks."""
    port = choose_port(22000)
    port.release()
    assert hold_port(port.number) is None
    port.forget()
    again = hold_port(port.number)
    assert again is not None
    again.forget()


def test_the_command_line_tells_programs_that_nothing_is_up(tmp_path: Path) -> None:
    """`status --json` is JSON in every case, and its exit code says whether all is well."""
    environment = {**os.environ, "TRIMTAB_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "deploy.local", "status", "--json"]
    done = subprocess.run(command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True)
    assert json.loads(done.stdout)["phase"] == "down"
    assert done.returncode == 3
