"""The judge's worker: Faust shares out `experiments` and elects the one whose timer runs."""

from collections.abc import Awaitable, Callable

from libs.common.bus.control import handling
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.ports import Record
from libs.common.clock import Clock
from libs.common.entrypoints.worker import FaustWorker, RecordHandler
from libs.common.errors import Poison
from schemas.decode import Malformed, decode
from schemas.event import Contract


def equip(
    worker: FaustWorker, *, keep: RecordHandler, tick: Callable[[], Awaitable[None]], interval_ms: int
) -> None:
    """Give the worker its agent and its leader's timer."""
    worker.listen("experiments", keep)
    worker.every(interval_ms, tick)


def decoded(
    handle: Callable[[Contract], Awaitable[None]], dead_letters: DeadLetters, clock: Clock
) -> RecordHandler:
    """Return a handler of raw records: tombstones are skipped, poison is buried, the rest is handed on."""

    async def take(record: Record) -> None:
        if record.value is None:
            return
        with handling(record):
            try:
                await handle(decode(record.topic, record.value, clock.now_ms()))
            except (Malformed, Poison) as error:
                await dead_letters.bury(record, str(error))
            else:
                dead_letters.passed(1)

    return take
