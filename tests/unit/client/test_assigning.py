"""Assigning and exposing: rules, memory, and what happens without them."""

import threading
from typing import Any

import pytest

from tests.unit.client.services import RULES, Maker, Services, until
from trimtab import Trimtab


def test_exposure_is_told_once(make: Maker, services: Services) -> None:
    """A unit is exposed once per experiment, however often and by whichever key it is assigned."""
    client = make()
    for _ in range(5):
        client.assign("user-7", "digits")
        client.assign("user-7", "digits-v2")
    client.assign("user-8", "digits")
    assert client.flush()
    assert sorted(event["unit_id"] for event in services.events()) == ["user-7", "user-8"]


def test_many_threads_expose_once(make: Maker, services: Services) -> None:
    """Threads that assign the same units at the same time tell each exposure once."""
    client = make()
    units = [f"user-{number}" for number in range(200)]
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        for unit in units:
            client.assign(unit, "digits")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush()
    assert sorted(event["unit_id"] for event in services.events()) == sorted(units)


def test_exposure_can_wait(make: Maker, services: Services) -> None:
    """With expose=False nothing is told until the unit really meets its variant."""
    client = make()
    assignment = client.assign("user-7", "digits", expose=False)
    assert client.flush()
    assert services.events() == []
    assert client.expose("user-7", assignment) is not None
    assert client.expose("user-7", assignment) is None
    assert client.flush()
    assert len(services.events()) == 1


def test_exposure_memory_is_bounded(make: Maker, services: Services) -> None:
    """Beyond its limit the memory forgets the oldest: it may be told again, which costs nothing."""
    client = make(max_exposures_remembered=2)
    for unit in ("a", "b", "c", "c", "a"):
        client.assign(unit, "digits")
    assert client.flush()
    assert [event["unit_id"] for event in services.events()] == ["a", "b", "c", "a"]


def test_assigning_touches_no_network(make: Maker, services: Services) -> None:
    """Assigning a thousand units asks the assignment service nothing."""
    client = make(refresh_interval_ms=60_000)
    asked = len(services.rule_requests)
    for number in range(1_000):
        client.assign(f"user-{number}", "digits", expose=False)
    assert len(services.rule_requests) == asked == 1


def test_rules_are_refreshed_by_etag(make: Maker, services: Services) -> None:
    """A new rule set is in force soon after it exists; an unchanged one is not sent again."""
    client = make()
    until(lambda: '"7"' in services.rule_requests)
    services.rules = {
        "revision": 8,
        "experiments": [],
        "models": [RULES["models"][0] | {"experiment_id": None}],
    }
    until(lambda: client.stats().rules_revision == 8)
    assert client.assign("user-7", "digits").reason == "champion"


def test_rules_outlive_their_source(make: Maker, services: Services) -> None:
    """When the assignment service is gone, the last rules stay in force, and their age and the error show."""
    client = make()
    services.rules = None
    until(lambda: client.stats().rules_error != "")
    assert client.assign("user-7", "digits").in_experiment
    first = client.stats().rules_age_ms
    assert first is not None
    until(lambda: (client.stats().rules_age_ms or 0.0) > first + 50)
    services.rules = RULES
    until(lambda: client.stats().rules_error == "")


def test_bad_rules_change_nothing(make: Maker, services: Services) -> None:
    """A document that is no rule set is noted, and the rules at hand stay."""
    client = make()
    services.rules = {"revision": 8, "experiments": "none"}
    until(lambda: "BadRules" in client.stats().rules_error)
    assert client.stats().rules_revision == 7


def test_without_rules_the_caller_decides(services: Services, make: Maker) -> None:
    """Before the first rule set, assign answers at once, with the reason; rules are taken when they come."""
    saved, services.rules = services.rules, None
    client = Trimtab("http://gateway", "http://assignment", transport=services, refresh_interval_ms=20)
    client.start(deadline_ms=30)
    assert client.assign("user-7", "digits").reason == "no_rules"
    services.rules = saved
    until(lambda: client.assign("user-7", "digits").in_experiment)
    assert client.close()


def test_never_started_client_counts_as_dropped(services: Services) -> None:
    """A client that was never started refuses nothing, and says at close what was lost."""
    client = Trimtab("http://gateway", "http://assignment", transport=services)
    client.convert("user-7", "purchase")
    assert client.assign("user-7", "digits").reason == "no_rules"
    assert not client.close(deadline_ms=10)
    assert client.stats().dropped == 1


@pytest.mark.parametrize(
    "options", [{"max_queue": 0}, {"max_batch": 1_001}, {"flush_interval_ms": 0}, {"request_timeout_ms": -1}]
)
def test_limits_are_checked_when_made(services: Services, options: dict[str, Any]) -> None:
    """Limits that cannot work are refused when the client is made, not later."""
    with pytest.raises(ValueError, match="positive"):
        Trimtab("http://gateway", "http://assignment", transport=services, **options)
