"""Let the model registry's aliases follow the record."""

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import NotFound
from schemas.health import Severity
from schemas.versions import ModelState
from services.retrainer.domain import alerts
from services.retrainer.handlers.resolve_alerts import resolve_alerts
from services.retrainer.ports import Registry, Store


@dataclass(frozen=True, slots=True)
class SetAliases:
    """Let the registry's aliases `champion` and `challenger` follow the state, which is the record."""

    store: Store
    registry: Registry
    clock: Clock

    async def __call__(self, state: ModelState) -> None:
        """Set both aliases of one model; a version that the registry does not hold opens an alert, which ends
        when both can be set. Raises Retryable when the registry is away: they are still due."""
        lost = []
        for alias, version in (("champion", state.champion), ("challenger", state.challenger)):
            try:
                await self.registry.set_alias(state.model, alias, version.version if version else None)
            except NotFound as error:
                lost.append(f"alias {alias}: {error.message}")
        await self._tell(state.model, "; ".join(lost))
        await self.store.aliased(state.model, state.revision)

    async def _tell(self, model: str, detail: str) -> None:
        now_ms = self.clock.now_ms()
        async with self.store.transaction(model) as transaction:
            if not detail:
                good = "the registry holds the versions that are in charge"
                await resolve_alerts(transaction, alerts.REGISTRY, detail=good, now_ms=now_ms)
                return
            problem = alerts.Problem(alerts.REGISTRY, Severity.HIGH, detail)
            open_alert = await transaction.open_alert(alerts.REGISTRY)
            await transaction.save_alert(alerts.raised(problem, model, open_alert, now_ms))
