"""An OpenFeature provider on top of the client: `pip install trimtab[openfeature]`.

from openfeature import api
from trimtab import Trimtab
from trimtab.openfeature import TrimtabProvider

api.set_provider_and_wait(TrimtabProvider(Trimtab("http://gateway:8080", "http://assignment:8081")))
api.get_client().get_string_value("checkout", "blue", EvaluationContext("user-7", {"country": "DE"}))
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import TypeAlias

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from trimtab.client import Trimtab
from trimtab.flag_words import (
    Object,
    Read,
    Value,
    error,
    read_boolean,
    read_float,
    read_integer,
    read_object,
    read_string,
    resolution,
)
from trimtab.rules import Rules

Context: TypeAlias = EvaluationContext | None


class TrimtabProvider(AbstractProvider):
    """Evaluates flags with a client; the targeting key is the unit.

    A flag's key is an experiment's id or a model's name, its value the assignment's `value`. A client that
    has not been started is started when the provider is set, and closed when it is shut down. An evaluation
    tells the exposure, unless `expose` is False; `track` tells a conversion.
    """

    def __init__(self, client: Trimtab, *, expose: bool = True, start_deadline_ms: float = 5_000) -> None:
        """Make a provider; `start_deadline_ms` is how long it may wait for the first rules."""
        super().__init__()
        self._client = client
        self._expose = expose
        self._start_deadline_ms = start_deadline_ms
        self._started_it = False
        self._waiting = False
        """True: it could not become ready in time, and will say so when the first rules arrive."""
        listener = weakref.WeakMethod(self._rules_changed)
        client.on_rules(lambda rules: _pass_on(listener, rules))

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Start the client where nobody has. Raises ProviderNotReadyError when no rules come in time; the
        provider becomes ready by itself when they do. Raises ProviderFatalError for a closed client."""
        if not self._client.started:
            self._start()
        self._waiting = True
        if self._client.ready:  # asked after `_waiting` is set: rules that come now are announced, or seen
            self._waiting = False
        else:
            raise ProviderNotReadyError(f"no rules: {self._client.stats().rules_error}")

    def _start(self) -> None:
        self._client.start(self._start_deadline_ms)
        if not self._client.started:
            raise ProviderFatalError("the client has been closed, and stays so: make another")
        self._started_it = True

    def shutdown(self) -> None:
        """Send what waits; close the client where the provider started it."""
        if self._started_it:
            self._client.close()
        else:
            self._client.flush()

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata("Trimtab")

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: Context = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Tell a conversion of the unit that is the targeting key; without one there is nobody to tell of."""
        if evaluation_context is None or not evaluation_context.targeting_key:
            return
        details = tracking_event_details or TrackingEventDetails()
        value = 1.0 if details.value is None else details.value
        self._client.convert(
            evaluation_context.targeting_key,
            tracking_event_name,
            value,
            attributes=details.attributes or None,
        )

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: Context = None
    ) -> FlagResolutionDetails[bool]:
        """Resolve a flag whose value is true or false."""
        return self._resolve(flag_key, default_value, evaluation_context, read_boolean)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> FlagResolutionDetails[str]:
        """Resolve a flag whose value is a text."""
        return self._resolve(flag_key, default_value, evaluation_context, read_string)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        """Resolve a flag whose value is a whole number."""
        return self._resolve(flag_key, default_value, evaluation_context, read_integer)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        """Resolve a flag whose value is a number; a whole one will do."""
        return self._resolve(flag_key, default_value, evaluation_context, read_float)

    def resolve_object_details(
        self, flag_key: str, default_value: Object, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Object]:
        """Resolve a flag whose value is a list or an object."""
        return self._resolve(flag_key, default_value, evaluation_context, read_object)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: Context = None
    ) -> FlagResolutionDetails[bool]:
        """Resolve as above; where the client asks a service, the event loop goes on meanwhile."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, read_boolean)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> FlagResolutionDetails[str]:
        """Resolve as above; where the client asks a service, the event loop goes on meanwhile."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, read_string)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        """Resolve as above; where the client asks a service, the event loop goes on meanwhile."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, read_integer)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        """Resolve as above; where the client asks a service, the event loop goes on meanwhile."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, read_float)

    async def resolve_object_details_async(
        self, flag_key: str, default_value: Object, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Object]:
        """Resolve as above; where the client asks a service, the event loop goes on meanwhile."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, read_object)

    def _resolve(
        self, flag_key: str, default: Value, context: Context, read: Read[Value]
    ) -> FlagResolutionDetails[Value]:
        if context is None or not context.targeting_key:
            return error(default, ErrorCode.TARGETING_KEY_MISSING, "the targeting key is the unit's id")
        assignment = self._client.assign(
            context.targeting_key, flag_key, context.attributes, expose=self._expose
        )
        return resolution(assignment, default, read)

    async def _resolve_async(
        self, flag_key: str, default: Value, context: Context, read: Read[Value]
    ) -> FlagResolutionDetails[Value]:
        if self._client.remote:
            return await asyncio.to_thread(self._resolve, flag_key, default, context, read)
        return self._resolve(flag_key, default, context, read)

    def _rules_changed(self, rules: Rules) -> None:
        details = ProviderEventDetails(flags_changed=[*rules.experiments, *rules.models])
        if self._waiting:
            self._waiting = False
            self.emit_provider_ready(details)
        else:
            self.emit_provider_configuration_changed(details)


def _pass_on(listener: Callable[[], Callable[[Rules], None] | None], rules: Rules) -> None:
    # The client's thread must not keep a provider alive that nobody uses any more.
    call = listener()
    if call is not None:
        call(rules)
