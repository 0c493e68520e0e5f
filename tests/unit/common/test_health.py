"""Readiness, liveness, and the door that shows them."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from libs.common.clock import ManualClock
from libs.common.errors import Misconfigured
from libs.common.telemetry.health import MAX_SILENCE_MS, Health
from libs.common.telemetry.ops import OpsServer


def test_ready_when_every_part_is() -> None:
    """A process is ready when all that it requires works, and says what does not."""
    health = Health(ManualClock())
    health.require("kafka")
    health.require("database", "migrating")
    assert not health.ready()
    assert health.reasons() == {"kafka": "starting", "database": "migrating"}
    health.ok("kafka")
    health.ok("database")
    assert health.ready()
    health.failing("kafka", "no broker answers")
    assert health.reasons() == {"kafka": "no broker answers"}
    health.failing("kafka", "")
    assert health.reasons() == {"kafka": "failing"}


def test_live_until_heartbeats_cease() -> None:
    """Before the first heartbeat nothing is missed; after it, a minute of silence are death."""
    clock = ManualClock()
    health = Health(clock)
    clock.advance(10 * MAX_SILENCE_MS)
    assert health.live()
    health.beat("line")
    clock.advance(MAX_SILENCE_MS)
    assert health.live()
    clock.advance(1)
    assert not health.live()
    health.beat("line")
    assert health.live()


def test_every_task_has_a_heartbeat_of_its_own() -> None:
    """A task that has beaten once and hangs is not covered up by the others: the process is not live, and
    says which it is, until that one beats again."""
    clock = ManualClock()
    health = Health(clock)
    health.beat("line")
    health.beat("follows experiments")
    clock.advance(MAX_SILENCE_MS)
    health.beat("follows experiments")
    clock.advance(1)
    health.beat("follows experiments")
    assert not health.live()
    assert health.silent() == ["line"]
    assert health.silence_ms() == MAX_SILENCE_MS + 1
    health.beat("line")
    assert health.live()
    assert (health.silent(), health.silence_ms()) == ([], 0)


@pytest.fixture
def health() -> Health:
    """Return a health that is ready."""
    return Health(ManualClock())


@pytest.fixture
def ops(health: Health) -> Iterator[OpsServer]:
    """Yield a door on a free port of the loopback, with one series of its own."""
    registry = CollectorRegistry()
    Counter("apples", "Apples", registry=registry).inc(3)
    server = OpsServer("127.0.0.1", 0, health, registry)
    server.start()
    yield server
    server.stop()


def get(ops: OpsServer, path: str) -> httpx.Response:
    """Return the door's answer."""
    return httpx.get(f"http://127.0.0.1:{ops.port}{path}", timeout=5, trust_env=False)


def test_metrics_are_served(ops: OpsServer) -> None:
    """Prometheus reads the series in a format that it knows."""
    answer = get(ops, "/metrics?name[]=apples_total")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "apples_total 3.0" in answer.text


def test_health_is_served(ops: OpsServer, health: Health) -> None:
    """Ready and live answer 200 or 503, with the reasons."""
    assert get(ops, "/health/live").json() == {"live": True, "silence_ms": 0, "silent": []}
    assert get(ops, "/health/ready").status_code == 200
    health.failing("kafka", "gone")
    answer = get(ops, "/health/ready")
    assert answer.status_code == 503
    assert json.loads(answer.text) == {"ready": False, "reasons": {"kafka": "gone"}}


def test_a_dead_process_says_so(ops: OpsServer) -> None:
    """A process whose loop has stopped turning is reported by the thread that still does, with the task."""
    clock = ManualClock()
    dead = Health(clock)
    server = OpsServer("127.0.0.1", 0, dead)
    server.start()
    dead.beat("line")
    clock.advance(MAX_SILENCE_MS + 1)
    answer = get(server, "/health/live")
    assert answer.status_code == 503
    assert answer.json()["silent"] == ["line"]
    server.stop()


def test_other_paths_name_what_there_is(ops: OpsServer) -> None:
    """A wrong path is answered with the right ones."""
    answer = get(ops, "/")
    assert answer.status_code == 404
    assert "/health/ready" in answer.json()["paths"]


def test_a_taken_port_is_a_misconfiguration(health: Health) -> None:
    """Who asks for a port that is taken is told which setting to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Misconfigured) as caught:
            OpsServer("127.0.0.1", taken.getsockname()[1], health).start()
    assert "TELEMETRY_PORT" in caught.value.next_step


def test_stopping_what_never_started_is_harmless(health: Health) -> None:
    """A process that failed before its door opened can still close it."""
    server = OpsServer("127.0.0.1", 4, health)
    server.stop()
    assert server.port == 4
