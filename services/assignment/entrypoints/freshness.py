"""Keeps the rules fresh, so that no evaluation has to ask the database."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.clock import Clock
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.names import RULES_AGE, collector
from services.assignment.handlers.read_rules import RulesReader

log = logging.getLogger(__name__)

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_WRITTEN = ("/v1/experiments", "/v1/models")


async def keep_rules(rules: RulesReader, stop: Stop, *, clock: Clock, interval_ms: float) -> None:
    """Refresh the rules every `interval_ms` milliseconds until `stop`.

    While the database is away the last ones hold; telemetry tells how old they are.
    """
    fresh_ms, failing = clock.monotonic_ms(), False
    collector(RULES_AGE).set_function(lambda: (clock.monotonic_ms() - fresh_ms) / 1_000)
    while not await stop.sleep(interval_ms):
        asked_ms = clock.monotonic_ms()
        try:
            await rules.refresh()
        except Retryable as error:
            if not failing:
                log.warning("the last rules go on being served: %s", error.message)
            failing = True
        else:
            fresh_ms, failing = asked_ms, False


class ReadYourWrites:
    """Refreshes the rules after a request that may have changed them, before its answer begins.

    Other processes follow within their interval; so does this one, where the refresh fails.
    """

    def __init__(self, app: ASGIApp, rules: RulesReader) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] in _READING or not scope["path"].startswith(_WRITTEN):
            await self._app(scope, receive, send)
            return

        async def refreshed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                try:
                    await self._rules.refresh()
                except Retryable as error:
                    log.warning("the rules are refreshed later: %s", error.message)
            await send(message)

        await self._app(scope, receive, refreshed)
