"""The ingest process: plans first, then the line over `exposures` and `conversions`."""

import gc

from libs.common.bus.follow import Follower
from libs.common.lifecycle import Stop, supervise
from libs.common.partitions.line import Line
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.rows import PartitionRows
from services.metrics.entrypoints.definitions import caught_up
from services.metrics.entrypoints.outcomes import count_outcomes, report_outcomes


async def ingest(follower: Follower, line: Line[PartitionRows], outcomes: Outcomes, stop: Stop) -> None:
    """Work until `stop`. The line starts once every experiment in the log has been read: so it never
    publishes rows without the metrics of a definition that was there before it."""

    async def line_after_plans() -> None:
        if await caught_up(follower, stop):
            tune_collector()
            await line.run(stop)

    await supervise(
        stop,
        definitions=follower.run(stop),
        line=line_after_plans(),
        report=report_outcomes(outcomes, stop),
        telemetry=count_outcomes(outcomes, stop),
    )


def tune_collector() -> None:
    """Let the garbage collector look seldom: the state is large and holds no cycles, and each look walks it
    all, which costs about a third of the time of folding."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
