"""The judge process."""

from libs.common.db.outbox import OutboxRelay
from libs.common.entrypoints.worker import FaustSettings, FaustWorker
from libs.common.lifecycle import Stop, supervise
from services.metrics.adapters.judgements import PostgresJudgements
from services.metrics.adapters.log_ends import LogEnds
from services.metrics.bootstrap.ground import dead_letters, grounded, reader
from services.metrics.config import MetricsSettings
from services.metrics.domain.leaks import Watch
from services.metrics.entrypoints.definitions import read_definitions
from services.metrics.entrypoints.worker import decoded, equip
from services.metrics.handlers.judge_due import JudgeDue
from services.metrics.handlers.keep_definition import KeepDefinition
from services.metrics.handlers.watch_log import WatchLog


async def run_judge(settings: MetricsSettings, stop: Stop) -> None:
    """Run the judge process until `stop`."""
    async with grounded(settings, "metrics-judge") as ground:
        store = PostgresJudgements(ground.pool, ground.clock)
        keep = KeepDefinition(store)
        watch = Watch(settings.metrics_leak_grace_ms, settings.metrics_leak_delay_ms)
        log_read = WatchLog(LogEnds(ground.bus), ground.clock, watch)
        await read_definitions(reader(ground, keep, "metrics-judge"), stop)
        worker = FaustWorker(
            FaustSettings(
                app_id=settings.metrics_judge_group,
                bootstrap_servers=settings.kafka_bootstrap_servers,
                session_timeout_ms=settings.metrics_session_timeout_ms,
            ),
            clock=ground.clock,
            health=ground.health,
        )
        equip(
            worker,
            keep=decoded(keep, dead_letters(ground, "metrics-judge"), ground.clock),
            tick=JudgeDue(
                store,
                ground.clock,
                min_interval_ms=settings.metrics_result_interval_ms,
                log_read=log_read,
            ),
            interval_ms=settings.metrics_judge_interval_ms,
        )
        relay = OutboxRelay(ground.pool, ground.producer, clock=ground.clock, health=ground.health)
        await supervise(stop, worker=worker.run(stop), relay=relay.run(stop))
