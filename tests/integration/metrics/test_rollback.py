"""A rollback on Apache Kafka and PostgreSQL: exposures verify it; who still meets its variant is a leak."""

import secrets

import pytest

from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from libs.common.settings import load
from schemas.experiments import ExperimentState, VerdictKind
from schemas.facts import Exposure
from schemas.health import Severity
from services.metrics.bootstrap.ingest import run_ingest
from services.metrics.bootstrap.judge import run_judge
from services.metrics.config import MetricsSettings
from tests.integration.metrics.test_loop import Place, experiment, messages, place, process, traffic, until

__all__ = ["place"]


async def test_a_rollback_is_verified_by_exposures_and_a_leak_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With units that met it before and with none at all: one verdict to verify each, no alert; then a unit
    that still meets the variant opens a critical one."""
    monkeypatch.setenv("METRICS_LEAK_GRACE_MS", "500")
    monkeypatch.setenv("METRICS_LEAK_DELAY_MS", "500")
    settings, now_ms = load(MetricsSettings), SystemClock().now_ms()
    met, unmet = (f"back-{secrets.token_hex(4)}" for _ in range(2))
    async with process(run_ingest, settings), process(run_judge, settings):
        await place.send(messages(traffic(met, now_ms - 60_000, 50)))
        for key in (met, unmet):
            ended = experiment(key, now_ms, revision=2, state=ExperimentState.ROLLED_BACK, ended_at_ms=now_ms)
            await place.send([Message("experiments", key, ended.to_json())])
        for key in (met, unmet):
            heard = place.about(key)
            await until(lambda heard=heard: len(heard.verdicts) > 0, "a verdict to verify")  # type: ignore[misc]
        assert [place.about(key).alerts for key in (met, unmet)] == [[], []]
        at_ms = SystemClock().now_ms() + 500
        late = Exposure(event_id="late", occurred_at_ms=at_ms, unit_id="u", experiment_id=met, variant="bad")
        await place.send(messages([late]))
        await until(lambda: bool(place.about(met).alerts), "the leak")
    for key in (met, unmet):
        assert [(each.kind, each.variant) for each in place.about(key).verdicts] == [
            (VerdictKind.VERIFY, "good")
        ]
    found = place.about(met).alerts
    assert [(each.cause, each.severity) for each in found] == [("leak", Severity.CRITICAL)]
    assert ": bad; 1 units" in found[0].detail
