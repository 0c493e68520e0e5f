"""Ask the retrainer: for a new version, or to take a version that exists under the loop's care."""

from dataclasses import dataclass
from typing import Literal

from libs.common.bus.control import control_message
from libs.common.bus.ports import Producer
from libs.common.clock import Clock
from libs.common.ids import new_id
from schemas.versions import (
    ReferenceProfile,
    Registration,
    Retraining,
    RetrainingCause,
    RetrainingState,
    VersionRole,
)

SOURCE = "gateway"


@dataclass(frozen=True, slots=True)
class RequestRetraining:
    """The handler. The retrainer answers on `retraining`, under the id that is returned."""

    producer: Producer
    clock: Clock

    async def __call__(self, model: str, *, by: str, reason: str, force: bool, dry_run: bool) -> str:
        """Return the retraining's id once the request is on the bus. Raises Retryable when it is away."""
        retraining = Retraining(
            retraining_id=new_id(self.clock),
            model=model,
            state=RetrainingState.REQUESTED,
            cause=RetrainingCause.REQUEST,
            force=force,
            dry_run=dry_run,
            requested_by=by,
            occurred_at_ms=self.clock.now_ms(),
            reason=reason,
        )
        message = control_message("retraining", model, retraining, source=SOURCE, clock=self.clock)
        await self.producer.send(message)
        return retraining.retraining_id


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """What a person asks for: `version` of `model` is to be its champion or a challenger."""

    version: str
    role: Literal[VersionRole.CHAMPION, VersionRole.CHALLENGER]
    by: str
    reason: str
    reference: ReferenceProfile | None


@dataclass(frozen=True, slots=True)
class RegisterVersion:
    """The handler. The version must lie in the model registry; the retrainer checks."""

    producer: Producer
    clock: Clock

    async def __call__(self, model: str, request: RegistrationRequest) -> str:
        """Return the registration's id once the request is on the bus. Raises Retryable when it is away."""
        registration = Registration(
            registration_id=new_id(self.clock),
            model=model,
            version=request.version,
            role=request.role,
            requested_by=request.by,
            occurred_at_ms=self.clock.now_ms(),
            reason=request.reason,
            reference=request.reference,
        )
        message = control_message("retraining", model, registration, source=SOURCE, clock=self.clock)
        await self.producer.send(message)
        return registration.registration_id
