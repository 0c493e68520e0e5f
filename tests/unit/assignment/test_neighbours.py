"""Exclusion groups and holdouts: what may be live beside what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Refused
from schemas.audience import Exclusion, Hashing, Holdout
from schemas.experiments import Policy
from services.assignment.domain.neighbours import free_shares
from services.assignment.domain.rule_set import rule_set
from services.assignment.handlers.create import create
from services.assignment.handlers.pause import pause
from services.assignment.handlers.start import start
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.make import definition, desk, order
from trimtab.evaluation import evaluate
from trimtab.rules import parse

GROWTHBOOK = Hashing.GROWTHBOOK_V2


def part(start: float, end: float, group: str = "prices") -> Exclusion:
    """Return a share of a group."""
    return Exclusion(group=group, start=start, end=end)


async def live(place: Desk, name: str, **fields: Any) -> None:
    """Start an experiment that covers all units."""
    await create(place, definition(name, policy=Policy(ramp=()), **fields), by="ada", start=True)


async def test_overlapping_shares_are_refused() -> None:
    """An overlap with a live experiment is refused at the start, naming it and what is free."""
    place = desk()
    await live(place, "first", exclusion=part(0.2, 0.5))
    await live(place, "second", exclusion=part(0.5, 0.6))
    await create(place, definition("third", exclusion=part(0.0, 0.3)), by="ada")
    with pytest.raises(Refused) as refusal:
        await start(place, order("third"))
    assert refusal.value.field == "exclusion"
    assert "first" in refusal.value.message
    assert refusal.value.next_step == "free in the group: [0.0, 0.2), [0.6, 1.0)"


async def test_paused_keeps_its_share_and_ended_gives_it_back() -> None:
    """A paused experiment holds its share; once it has ended the share is free."""
    place = desk()
    await live(place, "checkout", exclusion=part(0.0, 1.0))
    await pause(place, order())
    with pytest.raises(Refused, match="checkout"):
        await live(place, "second", exclusion=part(0.0, 0.5))
    await stop(place, order())
    await live(place, "second", exclusion=part(0.0, 0.5))


async def test_no_unit_meets_two_of_a_group() -> None:
    """Units take part in at most one experiment of a group, and shares that tile it leave nobody out."""
    place = desk()
    await live(place, "first", exclusion=part(0.0, 0.3))
    await live(place, "second", exclusion=part(0.3, 1.0))
    await live(place, "other", exclusion=part(0.0, 0.5, group="texts"))
    rules = parse(rule_set(await place.store.snapshot()))
    for number in range(1_000):
        met = [evaluate(rules, key, f"user-{number}").in_experiment for key in ("first", "second")]
        assert met.count(True) == 1


@pytest.mark.parametrize("hashing", [Hashing.TRIMTAB, GROWTHBOOK])
async def test_group_has_one_hash(hashing: Hashing) -> None:
    """By another hash a unit lies elsewhere, so that another hash in a group or a holdout is refused."""
    place = desk()
    other = GROWTHBOOK if hashing is Hashing.TRIMTAB else Hashing.TRIMTAB
    await live(place, "first", exclusion=part(0, 0.5), hashing=hashing)
    await live(place, "held", holdout=Holdout(name="year", share=0.1), hashing=hashing)
    with pytest.raises(Refused, match="hashing") as refusal:
        await live(place, "second", exclusion=part(0.5, 1), hashing=other)
    assert refusal.value.field == "exclusion"
    with pytest.raises(Refused, match="hashing") as refusal:
        await live(place, "third", holdout=Holdout(name="year", share=0.1), hashing=other)
    assert refusal.value.field == "holdout"


async def test_holdout_has_one_share() -> None:
    """A holdout is the same units everywhere: another share under its name is refused."""
    place = desk()
    await live(place, "first", holdout=Holdout(name="year", share=0.1))
    await live(place, "second", holdout=Holdout(name="year", share=0.1))
    await live(place, "third", holdout=Holdout(name="month", share=0.2))
    with pytest.raises(Refused, match=r"0\.1 in first, not 0\.2"):
        await live(place, "fourth", holdout=Holdout(name="year", share=0.2))


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda pair: pair[0] < pair[1])


@given(st.lists(SHARES.map(tuple), max_size=6), st.floats(0, 1, exclude_max=True))
def test_free_is_what_nobody_has(taken: list[tuple[float, float]], place: float) -> None:
    """Every place is either in somebody's share or in one that is free."""
    has = any(low <= place < high for low, high in taken)
    free = any(low <= place < high for low, high in free_shares(taken))
    assert has != free
