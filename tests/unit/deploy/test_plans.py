"""What is planned before anything runs: Kafka's settings, the services' needs, the order of stopping."""

from pathlib import Path

from deploy.local.kafka import properties
from deploy.local.parts import Part
from deploy.local.probes import kafka_ready
from deploy.local.services import SERVICES
from deploy.local.supervisor import stop_waves


def part(name: str, *waits_for: str) -> Part:
    """A part that is never started."""
    return Part(name, "", kafka_ready("", 0), waits_for=waits_for)


def test_kafka_listens_on_loopback_alone() -> None:
    """Every address in the properties is 127.0.0.1."""
    text = properties(Path("/data"), 9092, 19093)
    assert "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:19093\n" in text
    assert text.count("://") == text.count("://127.0.0.1:")


def test_kafka_has_the_settings_that_were_measured() -> None:
    """Topics are created on purpose, rebalances do not wait, and a killed node answers soon."""
    lines = properties(Path("/data"), 9092, 19093).splitlines()
    assert {
        "auto.create.topics.enable=false",
        "group.initial.rebalance.delay.ms=0",
        "broker.session.timeout.ms=2000",
        "broker.heartbeat.interval.ms=500",
    } <= set(lines)


def test_nothing_stops_before_those_that_need_it() -> None:
    """The databases go last, a chain in its order."""
    parts = [part("kafka"), part("a", "kafka"), part("b", "a", "kafka"), part("c", "kafka")]
    assert stop_waves(parts) == [["b", "c"], ["a"], ["kafka"]]


def test_a_circle_of_needs_still_stops() -> None:
    """Parts that wait for one another are stopped together."""
    assert stop_waves([part("a", "b"), part("b", "a")]) == [["a", "b"]]


def test_only_the_retrainer_waits_for_mlflow() -> None:
    """MLflow answers last, so it must hold nobody else up."""
    assert [service.name for service in SERVICES if "mlflow" in service.waits_for] == ["retrainer"]


def test_services_have_names_of_their_own() -> None:
    """Logs, states and ports go by the name."""
    assert len({service.name for service in SERVICES}) == len(SERVICES) == 7
