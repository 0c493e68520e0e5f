"""Sticky units keep their variant while weights change, also across processes that share a store."""

from typing import Any

from tests.unit.client.services import RULES, Maker, Services, until
from trimtab import StickyStore

UNITS = [f"user-{number}" for number in range(60)]


class Shared(StickyStore):
    """A store that several clients share, and that can fail."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], tuple[str, int]] = {}
        self.down = False
        self.asked = 0

    def get(self, experiment_id: str, unit_id: str) -> tuple[str, int] | None:
        self.asked += 1
        if self.down:
            raise ConnectionError("nobody listens")
        return self.known.get((experiment_id, unit_id))

    def put(self, experiment_id: str, unit_id: str, variant: str, revision: int) -> None:
        if self.down:
            raise ConnectionError("nobody listens")
        self.known[experiment_id, unit_id] = (variant, revision)


def rules(revision: int, challenger: float, since: int = 1) -> dict[str, Any]:
    """Return the rules with a sticky experiment at a revision, with a weight of the challenger."""
    experiment = RULES["experiments"][0]
    variants = [
        experiment["variants"][0] | {"weight": 1.0 - challenger},
        experiment["variants"][1] | {"weight": challenger},
    ]
    changed = experiment | {"revision": revision, "variants": variants, "sticky_since": since}
    return RULES | {"revision": revision, "experiments": [changed]}


def variants_of(client: Any) -> dict[str, str | None]:
    """Return what each unit gets."""
    return {unit: client.assign(unit, "digits").variant for unit in UNITS}


def test_units_stay_while_weights_change(make: Maker, services: Services) -> None:
    """A unit that was given a variant keeps it; new units follow the new weights."""
    services.rules = rules(1, 0.5)
    client = make()
    before = variants_of(client)
    assert set(before.values()) == {"champion", "challenger"}
    services.rules = rules(2, 1.0)
    until(lambda: client.stats().rules_revision == 2)
    assert variants_of(client) == before
    assert {client.assign(f"new-{number}", "digits").variant for number in range(20)} == {"challenger"}


def test_what_is_older_than_asked_is_forgotten(make: Maker, services: Services) -> None:
    """Units given a variant before `sticky_since` are assigned anew."""
    services.rules = rules(1, 0.5)
    client = make()
    variants_of(client)
    services.rules = rules(2, 1.0, since=2)
    until(lambda: client.stats().rules_revision == 2)
    assert set(variants_of(client).values()) == {"challenger"}


def test_memory_is_bounded(make: Maker, services: Services) -> None:
    """Past its limit the memory forgets the units it learnt first, and no others."""
    services.rules = rules(1, 0.0)
    client = make(max_units_remembered=10)
    variants_of(client)
    services.rules = rules(2, 1.0)
    until(lambda: client.stats().rules_revision == 2)
    assert [client.assign(unit, "digits").variant for unit in UNITS[-10:]] == ["champion"] * 10
    assert client.assign(UNITS[0], "digits").variant == "challenger"


def test_processes_agree_by_a_shared_store(make: Maker, services: Services) -> None:
    """A client that never saw a unit serves what another gave it; each asks once per unit."""
    store = Shared()
    services.rules = rules(1, 0.5)
    first = make(sticky_store=store)
    before = variants_of(first)
    services.rules = rules(2, 1.0)
    second = make(sticky_store=store)
    asked = store.asked
    assert variants_of(second) == variants_of(second) == before
    assert store.asked == asked + len(UNITS)


def test_newer_memory_of_another_process_counts(make: Maker, services: Services) -> None:
    """Where this process knows only what is too old, the store is asked again."""
    store = Shared()
    services.rules = rules(1, 0.0)
    client = make(sticky_store=store)
    assert client.assign("user-7", "digits").variant == "champion"
    store.known["digits-v2", "user-7"] = ("challenger", 2)
    services.rules = rules(2, 0.0, since=2)
    until(lambda: client.stats().rules_revision == 2)
    assert client.assign("user-7", "digits").variant == "challenger"


def test_store_that_fails_is_counted(make: Maker, services: Services) -> None:
    """A store that raises costs no assignment: units stay as far as this process remembers."""
    store = Shared()
    store.down = True
    services.rules = rules(1, 0.5)
    client = make(sticky_store=store)
    before = variants_of(client)
    assert client.stats().sticky_errors == 2 * len(UNITS)
    services.rules = rules(2, 1.0)
    until(lambda: client.stats().rules_revision == 2)
    assert variants_of(client) == before


def test_other_experiments_ask_no_store(make: Maker) -> None:
    """Experiments whose units are not sticky touch no memory."""
    store = Shared()
    variants_of(make(sticky_store=store))
    assert (store.asked, store.known) == (0, {})
