"""Whatever the client is given, its caller goes on: nothing raises, everything is counted."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.unit.client.services import RULES, Maker, Services, until
from trimtab import Assignment, Trimtab

BAD_UNITS = [None, b"user-7", {"id": 7}, 7, "", "x" * 257, "tab\there", "half \ud800", float("nan"), object()]


class Hostile(Mapping[str, Any]):
    """A mapping that raises whatever one does with it."""

    def __getitem__(self, key: str) -> Any:
        raise OSError("no")

    def __iter__(self) -> Iterator[str]:
        raise OSError("no")

    def __len__(self) -> int:
        raise OSError("no")


class Odd:
    """A value that raises where arrays become plain."""

    def tolist(self) -> object:
        raise OSError("no")

    item = tolist


def asking_for(*attributes: str, **fields: Any) -> dict[str, Any]:
    """Return the rules with an experiment whose exposures carry these attributes."""
    return RULES | {"experiments": [RULES["experiments"][0] | {"attributes": list(attributes)} | fields]}


@pytest.mark.parametrize("unit_id", BAD_UNITS, ids=repr)
def test_bad_unit_has_its_reason(make: Maker, services: Services, unit_id: Any) -> None:
    """An id that cannot be a unit's is assigned nothing, says so, and is counted; no event is sent."""
    client = make()
    assignment = client.assign(unit_id, "digits")
    assert (assignment.reason, assignment.variant, assignment.key) == ("bad_unit", None, "digits")
    assert client.stats().bad_units == 1
    assert client.expose(unit_id, Assignment("digits", in_experiment=True, experiment_id="digits-v2")) is None
    assert client.flush()
    assert services.events() == []


@pytest.mark.parametrize(
    "unit_id", ["Zoë", "用户", "a b", "no\u00a0break", "zero\u200dwidth", "x" * 256, "🙂"]
)
def test_any_script_may_name_a_unit(make: Maker, services: Services, unit_id: str) -> None:
    """Ids of any script are units, also with spaces and joiners, and arrive as they are."""
    client = make()
    assert client.assign(unit_id, "digits").in_experiment
    assert client.flush()
    assert [event["unit_id"] for event in services.events()] == [unit_id]


@pytest.mark.parametrize("key", [None, b"digits", ["digits"], {}, 7, ""], ids=repr)
def test_bad_key_is_unknown(make: Maker, key: Any) -> None:
    """What is no key is as unknown as a key that nobody has defined."""
    assert make().assign("user-7", key).reason == "unknown"


@pytest.mark.parametrize(
    "attributes", [None, {}, {"a": float("nan")}, {1: object()}, {"a": {"b": [b"c"]}}], ids=repr
)
def test_odd_attributes_change_nothing(make: Maker, services: Services, attributes: Any) -> None:
    """Attributes that nobody targets by may be anything."""
    services.rules = asking_for("a")
    assert make().assign("user-7", "digits", attributes).in_experiment


@pytest.mark.parametrize(
    "attributes", [Hostile(), 7, "country", ["country"]], ids=["hostile", "7", "text", "list"]
)
def test_attributes_that_cannot_be_read(make: Maker, services: Services, attributes: Any) -> None:
    """Attributes that raise, or are no mapping, are no error of the caller; the failure is counted."""
    services.rules = asking_for("country", targeting={"country": "DE"})
    client = make()
    assert client.assign("user-7", "digits", attributes).reason in ("failed", "not_targeted")
    assert client.assign("user-8", "digits").reason == "not_targeted"
    assert client.stats().assign_errors <= 1


def test_attributes_that_cannot_be_read_lose_no_exposure(make: Maker, services: Services) -> None:
    """A unit whose exposure could not be told for its attributes is exposed when next it is assigned."""
    services.rules = asking_for("country")
    client = make()
    assert client.assign("user-7", "digits", ["country"]).reason == "failed"  # type: ignore[arg-type]
    assert client.assign("user-7", "digits", {"country": "DE"}).in_experiment
    assert client.flush()
    assert [event["attributes"] for event in services.events()] == [{"country": "DE"}]


def test_conversion_carries_only_what_it_may(make: Maker, services: Services) -> None:
    """A conversion counts whatever its attributes are: those that cannot travel are left out and counted."""
    client = make()
    client.convert("user-7", "purchase", attributes={"shop": "north", "cart": {"items": 2}, "x": Odd()})
    assert client.flush()
    assert services.events()[0]["attributes"] == {"shop": "north"}
    assert (client.stats().accepted, client.stats().attributes_left_out) == (1, 2)


def test_exposure_carries_only_what_it_may(make: Maker, services: Services) -> None:
    """An exposure carries the attributes its experiment asks for, as far as the gateway takes them."""
    services.rules = asking_for(
        "country", "age", "premium", "tags", "score", "essay", "odd", "absent", "huge"
    )
    client = make()
    given = {"country": "DE", "age": 42, "premium": True, "secret": "not asked for"}
    bad = {
        "tags": ["a"],
        "score": float("inf"),
        "essay": "x" * 257,
        "odd": Odd(),
        "absent": None,
        "huge": 10**400,
    }
    client.assign("user-7", "digits", given | bad)
    assert client.flush()
    assert services.events()[0]["attributes"] == {"country": "DE", "age": 42, "premium": True}
    assert client.stats().attributes_left_out == 5


def test_exposure_told_later_carries_them_too(make: Maker, services: Services) -> None:
    """`expose` keeps the same rule about attributes, whoever gives them."""
    services.rules = asking_for("country")
    client = make()
    assignment = client.assign("user-7", "digits", expose=False)
    assert client.expose("user-7", assignment, attributes={"country": "DE", "secret": 1}) is not None
    assert client.expose("user-8", assignment, attributes=Hostile()) is None
    assert client.expose("user-8", None) is None  # type: ignore[arg-type]
    assert client.flush()
    assert [event["attributes"] for event in services.events()] == [{"country": "DE"}]


@pytest.mark.parametrize("unit_id", BAD_UNITS, ids=repr)
def test_events_of_bad_units_are_rejected(make: Maker, services: Services, unit_id: Any) -> None:
    """Events of what cannot be a unit are counted as rejected, at once, with the reason; they have ids."""
    client = make()
    told = client.convert(unit_id, "purchase")
    client.predict(unit_id, model="m", model_version="1", features={}, output=1)
    client.feedback(unit_id, told, model="m", label="3")
    stats = client.stats()
    assert (stats.rejected, stats.queued, stats.last_error[:8]) == (3, 0, "unit_id:")
    assert len(told) == 36
    assert services.events() == []


def test_values_that_cannot_be_written_are_rejected(make: Maker, services: Services) -> None:
    """Values without a JSON form, or that raise, cost their own event and no other."""
    client = make()
    client.convert("user-1", "purchase", object())  # type: ignore[arg-type]
    client.convert("user-1", "purchase", attributes=Hostile())
    client.predict("user-1", model="m", model_version="1", features=Hostile(), output="1")
    client.predict("user-1", model="m", model_version="1", features={"x": Odd()}, output="1")
    client.feedback("user-1", "p", model="m", label=float("-inf"))
    client.convert("user-1", "purchase", 10**5_000)
    client.convert("user-2", "purchase")
    assert client.flush()
    assert [event["unit_id"] for event in services.events()] == ["user-2"]
    assert (client.stats().rejected, client.stats().accepted) == (6, 1)


@pytest.mark.parametrize(
    "address", ["not an address", "http://[bad", f"http://{'x' * 64}.example", "http://\x00"]
)
def test_client_of_nonsense_addresses_goes_on(address: str) -> None:
    """Addresses that nobody can call give no rules and no error to the caller."""
    client = Trimtab(address, address, flush_interval_ms=10).start(deadline_ms=50)
    until(lambda: client.stats().rules_error != "")
    assert client.assign("user-7", "digits").reason == "no_rules"
    client.convert("user-7", "purchase")
    until(lambda: client.stats().last_error != "")
    with Trimtab(address, address, remote=True) as other:
        assert other.assign("user-7", "digits").reason == "unreachable"
    assert not client.close(deadline_ms=100)
