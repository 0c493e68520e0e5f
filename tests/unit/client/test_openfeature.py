"""The provider under the real OpenFeature SDK."""

from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from tests.unit.client.services import RULES, Maker, Services, until
from trimtab import Trimtab
from trimtab.openfeature import TrimtabProvider

USER = EvaluationContext("user-7", {"country": "DE"})


def flag(key: str, payload: Any, **fields: Any) -> dict[str, Any]:
    """Return the rule of a flag that serves one payload to everybody."""
    variants = [
        {"key": name, "weight": 1.0, "model_version": None, "payload": payload} for name in ("off", "on")
    ]
    base = {"experiment_id": key, "revision": 2, "closed": "", "salt": key, "coverage": 1.0, "control": "off"}
    return base | {"defers_to": "", "variants": variants, "exposes": False} | fields


FLAGS = [
    flag("yes", True),
    flag("text", "blue"),
    flag("whole", 3),
    flag("broken", 0.5),
    flag("list", [1, "two"]),
    flag("object", {"a": {"b": 1}}),
    flag("closed", "held", closed="paused"),
    flag("german", "ja", targeting={"country": "DE"}),
]


@pytest.fixture
def flags(services: Services, make: Maker) -> Iterator[OpenFeatureClient]:
    """The SDK's client over a provider with all kinds of flags, and the experiment on digits."""
    services.rules = RULES | {"experiments": [*RULES["experiments"], *FLAGS]}
    api.set_provider_and_wait(TrimtabProvider(make()))
    yield api.get_client()
    api.shutdown()
    api.clear_providers()


def test_every_type_resolves(flags: OpenFeatureClient) -> None:
    """Flags of every type give their value, and a whole number will do for a number."""
    assert flags.get_boolean_value("yes", False, USER) is True
    assert flags.get_string_value("text", "red", USER) == "blue"
    assert flags.get_integer_value("whole", 0, USER) == 3
    assert flags.get_float_value("broken", 0.0, USER) == 0.5
    assert flags.get_float_value("whole", 0.0, USER) == 3.0
    assert flags.get_object_value("list", [], USER) == [1, "two"]
    assert flags.get_object_value("object", {}, USER) == {"a": {"b": 1}}


def test_objects_are_the_callers_own(flags: OpenFeatureClient) -> None:
    """What a caller does to a flag's object changes the flag for nobody."""
    flags.get_object_value("list", [], USER).append("mine")  # type: ignore[union-attr]
    assert flags.get_object_value("list", [], USER) == [1, "two"]


async def test_every_type_resolves_with_asyncio(flags: OpenFeatureClient) -> None:
    """The asynchronous calls give the same."""
    assert await flags.get_boolean_value_async("yes", False, USER) is True
    assert await flags.get_string_value_async("text", "red", USER) == "blue"
    assert await flags.get_integer_value_async("whole", 0, USER) == 3
    assert await flags.get_float_value_async("broken", 0.0, USER) == 0.5
    assert await flags.get_object_value_async("object", {}, USER) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("kind", "key", "default"),
    [
        ("boolean", "text", False),
        ("boolean", "whole", False),
        ("string", "yes", "red"),
        ("integer", "yes", 0),
        ("integer", "broken", 0),
        ("float", "text", 0.0),
        ("float", "yes", 0.0),
        ("object", "text", {}),
    ],
)
def test_other_types_do_not_match(flags: OpenFeatureClient, kind: str, key: str, default: Any) -> None:
    """A flag of another type gives the default and TYPE_MISMATCH."""
    details = getattr(flags, f"get_{kind}_details")(key, default, USER)
    assert (details.value, details.error_code) == (default, ErrorCode.TYPE_MISMATCH)
    assert details.reason == Reason.ERROR


def test_experiment_is_a_flag(flags: OpenFeatureClient, services: Services) -> None:
    """An experiment resolves to what the variant carries, says all of it, and the unit is exposed once."""
    for _ in range(3):
        details = flags.get_string_details("digits", "0", USER)
    assert (details.value, details.reason) in (("1", Reason.SPLIT), ("2", Reason.SPLIT))
    assert details.variant in ("champion", "challenger")
    assert details.flag_metadata == {
        "reason": "assigned",
        "in_experiment": True,
        "experiment_id": "digits-v2",
        "revision": 3,
        "model_version": details.value,
    }
    until(lambda: len(services.events()) == 1)
    assert services.events()[0]["variant"] == details.variant


def test_reasons_are_those_of_openfeature(flags: OpenFeatureClient) -> None:
    """Paused is disabled, not targeted is default; our own reason stands in the metadata."""
    closed = flags.get_string_details("closed", "red", USER)
    assert (closed.value, closed.reason, closed.flag_metadata["reason"]) == (
        "held",
        Reason.DISABLED,
        "paused",
    )
    assert flags.get_string_details("german", "red", USER).reason == Reason.SPLIT
    french = flags.get_string_details("german", "red", EvaluationContext("user-7", {"country": "FR"}))
    assert (french.reason, french.flag_metadata["reason"]) == (Reason.DEFAULT, "not_targeted")


def test_errors_have_their_codes(flags: OpenFeatureClient) -> None:
    """An unknown flag, a missing targeting key and one that is no unit's id give the default and say why."""
    unknown = flags.get_string_details("nobody", "red", USER)
    assert (unknown.value, unknown.error_code) == ("red", ErrorCode.FLAG_NOT_FOUND)
    nameless = flags.get_string_details("text", "red", EvaluationContext(attributes={"country": "DE"}))
    assert (nameless.value, nameless.error_code) == ("red", ErrorCode.TARGETING_KEY_MISSING)
    assert flags.get_string_details("text", "red").error_code == ErrorCode.TARGETING_KEY_MISSING
    odd = flags.get_string_details("text", "red", EvaluationContext("a\nb"))
    assert odd.error_code == ErrorCode.INVALID_CONTEXT


def test_tracking_is_a_conversion(flags: OpenFeatureClient, services: Services) -> None:
    """`track` tells a conversion of the unit, with value and attributes; without a unit it tells nothing."""
    flags.track("purchase", USER, TrackingEventDetails(19.9, {"shop": "north"}))
    flags.track("visit", USER)
    flags.track("nobody's")
    until(lambda: len(services.events()) == 2)
    purchase, visit = services.events()
    assert (purchase["name"], purchase["value"], purchase["attributes"]) == (
        "purchase",
        19.9,
        {"shop": "north"},
    )
    assert (visit["unit_id"], visit["value"]) == ("user-7", 1.0)


def test_not_ready_until_rules_come(services: Services) -> None:
    """Without rules the provider is not ready and defaults apply; with the first it is, by itself."""
    saved, services.rules = services.rules, None
    client = Trimtab("http://gateway", "http://assignment", transport=services, refresh_interval_ms=20)
    ready: list[EventDetails] = []
    api.add_handler(ProviderEvent.PROVIDER_READY, ready.append)
    with pytest.raises(ProviderNotReadyError):
        api.set_provider_and_wait(TrimtabProvider(client, start_deadline_ms=30))
    flags = api.get_client()
    assert flags.get_string_details("digits", "0", USER).error_code == ErrorCode.PROVIDER_NOT_READY
    ready.clear()
    services.rules = saved
    until(lambda: flags.get_provider_status() == ProviderStatus.READY)
    assert flags.get_string_value("digits", "0", USER) in ("1", "2")
    until(lambda: bool(ready))
    api.remove_handler(ProviderEvent.PROVIDER_READY, ready.append)
    api.shutdown()
    api.clear_providers()
    assert not client.started


def test_provider_of_a_closed_client_is_fatal(services: Services) -> None:
    """A provider whose client has been closed says so, and does not serve old rules while it drops events."""
    client = Trimtab("http://gateway", "http://assignment", transport=services)
    provider = TrimtabProvider(client)
    api.set_provider_and_wait(provider)
    api.shutdown()
    api.clear_providers()
    with pytest.raises(ProviderFatalError):
        api.set_provider_and_wait(provider)
    assert api.get_client().get_provider_status() == ProviderStatus.FATAL
    api.clear_providers()


def test_new_rules_are_announced(flags: OpenFeatureClient, services: Services) -> None:
    """A new rule set is an event of the provider that names the flags."""
    changed: list[EventDetails] = []
    api.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changed.append)
    services.rules = RULES | {"revision": 8}
    until(lambda: bool(changed))
    api.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changed.append)
    assert changed[0].flags_changed == ["digits-v2", "digits"]
