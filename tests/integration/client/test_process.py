"""Clients in processes that end, are interrupted, and fork: nothing hangs, is lost, or is sent twice."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.client.server import Server

START = """
import os, signal, sys, threading, time
from trimtab import Trimtab
options = dict(flush_interval_ms=60_000, refresh_interval_ms=50, exit_deadline_ms=1_000)
client = Trimtab({gateway!r}, {url!r}, **options).start()
"""
LISTEN = "signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A shell's background jobs are born deaf to Ctrl-C, and their children with them."""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def run(
    server: Server, script: str, *, gateway: str = "", deadline_s: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, after the making of its client. Not measured by coverage: its
    tracer takes a lock in every thread, and a child forked meanwhile waits for it for ever."""
    source = START.format(url=server.url, gateway=gateway or server.url) + script
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")},
    )


def told(server: Server) -> Counter[str]:
    """Return how often each conversion arrived, by its unit."""
    return Counter(event["unit_id"] for event in server.events if event["type"] == "conversion")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError('a defect')", 1),
        ("raise KeyboardInterrupt", 130),
        (f"{LISTEN}; os.kill(os.getpid(), signal.SIGINT); time.sleep(20)", 130),
    ],
)
def test_end_of_the_process_sends_what_waits(server: Server, ending: str, code: int) -> None:
    """However a process ends by itself, what waited is sent, and its exit code stays."""
    done = run(server, f"for n in range(50): client.convert(f'user-{{n}}', 'purchase')\n{ending}")
    assert done.returncode in (code, -signal.SIGINT if code == 130 else code), done.stderr
    assert told(server) == Counter(f"user-{number}" for number in range(50))
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("silent", [True, False])
def test_end_is_not_held_up_by_an_outage(server: Server, silent: bool) -> None:
    """Where the gateway is silent or away, the process ends soon after its deadline."""
    gateway = ""
    if silent:
        server.silent.set()
    else:
        with socket.socket() as taken:  # a port where nobody listens
            taken.bind(("127.0.0.1", 0))
            gateway = f"http://127.0.0.1:{taken.getsockname()[1]}"
    began = time.monotonic()
    done = run(server, "client.convert('user-7', 'purchase')", gateway=gateway)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 15
    assert told(server) == Counter()


@needs_fork
def test_forked_child_sends_its_own(server: Server) -> None:
    """A child has the rules and an empty queue; every event is sent once, by whom it was told to."""
    done = run(
        server,
        """
for n in range(10): client.convert(f'parent-{n}', 'purchase')
client.assign('user-7', 'digits')
child = os.fork()
if child == 0:
    assert client.stats().queued == 0
    assert client.assign('user-7', 'digits').in_experiment
    for n in range(5): client.convert(f'child-{n}', 'purchase')
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
client.convert('parent-last', 'purchase')
""",
    )
    assert done.returncode == 0, done.stderr
    expected = [f"parent-{n}" for n in range(10)] + [f"child-{n}" for n in range(5)] + ["parent-last"]
    assert told(server) == Counter(expected)
    assert max(Counter(event["event_id"] for event in server.events).values()) == 1
    exposed = [event["unit_id"] for event in server.events if event["type"] == "exposure"]
    assert exposed == [
        "user-7",
        "user-7",
    ]  # each process for itself: the parent might never have sent its own


@needs_fork
def test_child_keeps_its_rules_fresh(server: Server) -> None:
    """In a child the rules are refreshed by its own thread, and a flush sends at once."""
    done = run(
        server,
        """
if os.fork() == 0:
    ends = time.monotonic() + 10
    while (client.stats().rules_age_ms or 1e9) > 40 and time.monotonic() < ends: time.sleep(0.005)
    assert client.stats().rules_age_ms < 1_000
    client.convert('child', 'purchase')
    names = sorted(each.name for each in threading.enumerate() if each.name.startswith('trimtab'))
    assert names == ['trimtab-delivery', 'trimtab-rules'], names
    assert client.flush()
    os._exit(0)
assert os.wait()[1] == 0
""",
    )
    assert done.returncode == 0, done.stderr
    assert told(server) == Counter(["child"])


@needs_fork
def test_child_that_does_not_use_it_has_no_threads(server: Server) -> None:
    """A child, and a child's child, has the client's threads only from the first use of it on."""
    done = run(
        server,
        """
def names(): return [each.name for each in threading.enumerate() if each.name.startswith('trimtab')]
assert len(names()) == 2
if os.fork() == 0:
    assert names() == []
    if os.fork() == 0:
        assert names() == []
        assert client.assign('user-7', 'digits').in_experiment
        assert sorted(names()) == ['trimtab-delivery', 'trimtab-rules']
        sys.exit(0)
    assert os.wait()[1] == 0
    assert client.close()
    os._exit(0)
assert os.wait()[1] == 0
""",
    )
    assert done.returncode == 0, done.stderr
    assert [event["unit_id"] for event in server.events] == ["user-7"]


@needs_fork
def test_forks_while_threads_tell(server: Server) -> None:
    """Forking while other threads tell and assign never leaves a child with a lock that nobody holds."""
    done = run(
        server,
        """
stop = threading.Event()
def work(name):
    n = 0
    while not stop.is_set():
        n += 1
        client.assign(f'{name}-{n}', 'digits')
        if n % 50 == 0: time.sleep(0.001)
threads = [threading.Thread(target=work, args=(f'thread-{n}',)) for n in range(3)]
for each in threads: each.start()
children = []
for n in range(20):
    child = os.fork()
    if child == 0:
        client.assign(f'child-{n}', 'digits')
        client.convert(f'child-{n}', 'purchase')
        assert client.flush(50_000)
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
stop.set()
for each in threads: each.join()
""",
        deadline_s=100,
    )
    assert done.returncode == 0, done.stderr
    assert told(server) == Counter(f"child-{number}" for number in range(20))
    ids = Counter(event["event_id"] for event in server.events)
    assert max(ids.values()) == 1


@needs_fork
def test_worker_of_multiprocessing_sends_what_waits(server: Server) -> None:
    """A worker that multiprocessing forks sends what it told, though it ends by os._exit."""
    done = run(
        server,
        """
import multiprocessing
def work(n):
    client.convert(f'worker-{n}', 'purchase')
context = multiprocessing.get_context('fork')
workers = [context.Process(target=work, args=(n,)) for n in range(3)]
for each in workers: each.start()
for each in workers: each.join()
assert [each.exitcode for each in workers] == [0, 0, 0]
""",
    )
    assert done.returncode == 0, done.stderr
    assert told(server) == Counter(f"worker-{number}" for number in range(3))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_client_made_in_a_worker_sends_what_waits(server: Server, tmp_path: Path, method: str) -> None:
    """A client that a worker makes for itself sends at the worker's end, however the worker was begun."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no such workers")
    (tmp_path / "work.py").write_text(
        "from trimtab import Trimtab\n"
        "def work(url):\n"
        "    global client\n"
        "    client = Trimtab(url, url, flush_interval_ms=60_000).start()\n"
        "    client.convert('worker', 'purchase')\n"
    )
    script = f"""
import multiprocessing
sys.path.insert(0, {str(tmp_path)!r})
from work import work
if __name__ == '__main__':
    worker = multiprocessing.get_context({method!r}).Process(target=work, args=({server.url!r},))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
"""
    done = run(server, script)
    assert done.returncode == 0, done.stderr
    assert told(server) == Counter(["worker"])
