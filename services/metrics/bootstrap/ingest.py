"""The ingest process."""

from libs.common.lifecycle import Stop
from libs.common.partitions.bodies.places import open_bodies
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.postgres import PostgresPartitionStore
from services.metrics.adapters.rows import write_rows
from services.metrics.bootstrap.ground import UNIT_TOPICS, dead_letters, grounded, reader
from services.metrics.config import MetricsSettings
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import PartitionRows
from services.metrics.entrypoints.ingest import ingest
from services.metrics.handlers.keep_definition import KeepPlan


async def run_ingest(settings: MetricsSettings, stop: Stop) -> None:
    """Run the ingest process until `stop`."""
    async with grounded(settings, "metrics-ingest") as ground:
        bodies = await open_bodies(
            settings.snapshot_url, clock=ground.clock, deadline_ms=settings.startup_deadline_ms
        )
        definitions = Definitions()
        limits = IngestLimits(
            units=settings.metrics_max_units,
            leak_grace_ms=settings.metrics_leak_grace_ms,
            look_back_ms=settings.metrics_look_back_ms,
        )
        partitions = MetricsPartitions(definitions, limits)
        line: Line[PartitionRows] = Line(
            ground.bus,
            group=settings.metrics_ingest_group,
            topics=UNIT_TOPICS,
            factory=partitions,
            store=PostgresPartitionStore(ground.pool, write_rows, bodies),
            dead_letters=dead_letters(ground, "metrics-ingest"),
            clock=ground.clock,
            health=ground.health,
            settings=LineSettings(
                publish_interval_ms=settings.metrics_publish_interval_ms,
                snapshot_interval_ms=settings.metrics_snapshot_interval_ms,
            ),
        )
        plans = reader(ground, KeepPlan(definitions), "metrics-ingest")
        await ingest(plans, line, partitions.outcomes, stop)
