"""The command that forgets what partitions hold."""

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import SystemClock
from libs.common.partitions.reset import Wish
from libs.common.partitions.reset_command import Holding, Reach, run_reset
from services.metrics.bootstrap.ground import MIGRATIONS, SCHEMA, UNIT_TOPICS
from services.metrics.config import MetricsSettings

HELD = Holding(
    SCHEMA,
    MIGRATIONS,
    UNIT_TOPICS,
    (
        "partition_experiments",
        "partition_variants",
        "partition_metrics",
        "partition_hours",
        "partition_segments",
    ),
    # Versions count from 1 again: the judge must not take one that comes back for one it has judged.
    also=("UPDATE judgements SET version = 0",),
)


async def reset(settings: MetricsSettings, wish: Wish) -> list[int]:
    """Forget what partitions hold, and return which; see `libs/common/partitions/reset.py`."""
    clock = SystemClock()
    bus = KafkaBus(settings.kafka_bootstrap_servers, client_id="metrics-reset", clock=clock)
    url = settings.database_url.get_secret_value()
    reach = Reach(bus, url, settings.snapshot_url, clock, settings.startup_deadline_ms)
    return await run_reset(HELD, reach, wish)
