"""Put a version that lies in the model registry under the loop's care."""

import logging
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import NotFound, Refused
from schemas.health import Severity
from schemas.versions import ModelState, ModelVersion, Registration
from services.retrainer.domain import alerts, versions
from services.retrainer.handlers.resolve_alerts import resolve_alerts
from services.retrainer.ports import Registry, Store, Transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegisterVersion:
    """The handler: requests are queued as they come, and carried out when the registry answers."""

    store: Store
    registry: Registry
    clock: Clock

    async def queue(self, registration: Registration) -> None:
        """Remember a request; the same one is remembered once."""
        async with self.store.transaction(registration.model) as transaction:
            if await transaction.first_time("registration", registration.registration_id):
                await transaction.add_registration(registration)

    async def __call__(self, registration: Registration) -> None:
        """Carry out one request of the queue; one that cannot be is answered by an alert.

        Raises Retryable when the registry is away: the request stays in the queue.
        """
        exists = await self.registry.exists(registration.model, registration.version)
        async with self.store.transaction(registration.model) as transaction:
            try:
                if not exists:
                    raise NotFound(
                        f"MLflow has no version {registration.version} of {registration.model}",
                        next_step="register the model in MLflow first, then name the version it was given",
                    )
                await self._accept(transaction, registration)
            except Refused as error:
                await self._refuse(transaction, registration, error)
            await transaction.remove_registration(registration.registration_id)

    async def _accept(self, transaction: Transaction, registration: Registration) -> None:
        now_ms = self.clock.now_ms()
        before = await transaction.model()
        version = await self._version(transaction, registration, now_ms)
        after = versions.registered(before, registration, version, now_ms)
        await transaction.save_model(after, versions.changes(before, after))
        ended = [alerts.REGISTRATION]
        if _champion(before) != _champion(after):
            ended += [alerts.RETRAINING, alerts.GIVEN_UP]
        await resolve_alerts(transaction, *ended, detail=after.reason, now_ms=now_ms)

    async def _version(
        self, transaction: Transaction, registration: Registration, now_ms: int
    ) -> ModelVersion:
        known = await transaction.version(registration.version)
        if known is None:
            return ModelVersion(
                version=registration.version,
                origin="registered",
                created_at_ms=now_ms,
                reference=registration.reference,
            )
        return known.model_copy(update={"reference": registration.reference or known.reference})

    async def _refuse(self, transaction: Transaction, registration: Registration, error: Refused) -> None:
        said = f"{error.message}; {error.next_step}" if error.next_step else error.message
        detail = f"registration {registration.registration_id} by {registration.requested_by}: {said}"
        log.warning("refused: %s", detail)
        problem = alerts.Problem(alerts.REGISTRATION, Severity.LOW, detail)
        open_alert = await transaction.open_alert(alerts.REGISTRATION)
        alert = alerts.raised(problem, registration.model, open_alert, self.clock.now_ms())
        await transaction.save_alert(alert)


def _champion(state: ModelState | None) -> str | None:
    return state.champion.version if state and state.champion else None
