"""What the join forgets: nothing that could still count, and enough to go on for ever."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.experiments import ExperimentState, Metric
from schemas.hot import Conversion, Exposure
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.hashing import hash_of
from services.metrics.domain.join import Join
from services.metrics.domain.limits import HOUR_MS, MAX_WINDOW_MS, IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import row_of
from tests.unit.metrics.events import Event, as_reference, conversion, experiment, exposure, fold, known
from tests.unit.metrics.test_join_laws import truth

LATENESS_MS = 2_000
STEPS = st.integers(0, 24).map(lambda step: step * 500)
UNITS = st.sampled_from(["u1", "u2", "u3"])
EVENTS = st.lists(
    st.builds(exposure, UNITS, st.sampled_from("aab"), STEPS) | st.builds(conversion, UNITS, STEPS),
    max_size=40,
)


def join(definitions: Definitions | None = None, **limits: int) -> Join:
    """Return an empty join that knows experiment x, and keeps nothing for covariates to come."""
    found = Join(definitions or known("x"), IngestLimits(**{"look_back_ms": 0, **limits}), Outcomes())
    found.upkeep.adopt_definitions()
    return found


def units_of(state: Join) -> set[str]:
    """Return which of the units that the tests name are remembered; there are no others."""
    names = {hash_of(name): name for name in ("old", "old-1", "old-2", "fresh", "new", "u", "v", "w")}
    return {names[key] for key in state.store.units.key[: state.store.units.n].tolist()}


def expose(state: Join, unit: str, key: str, variant: str, at_ms: int, event_id: str) -> None:
    """Take in one exposure."""
    state.expose([Exposure(event_id, at_ms, unit, key, variant)], [at_ms])


def convert(state: Join, unit: str, name: str, value: float, at_ms: int, event_id: str) -> None:
    """Take in one conversion."""
    state.convert([Conversion(event_id, at_ms, unit, name, value)])


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_sweeping_changes_no_row(events: list[Event], chance: random.Random) -> None:
    """Exposures at most the lateness late, conversions whenever: the reference's numbers all the same."""
    placed = [
        (each.occurred_at_ms + chance.randrange(LATENESS_MS if each.type == "exposure" else 20_000), each)
        for each in [*events, *chance.choices(events or [exposure("u1", "a", 0)], k=5 if events else 0)]
    ]
    arrived = [each for _, each in sorted(placed, key=lambda pair: pair[0])]
    state = MetricsPartitions(known("x"), IngestLimits(lateness_ms=LATENESS_MS, look_back_ms=0))(0, None)
    fold(state, arrived)
    assert as_reference(state.rows()) == truth(events)


def test_a_full_partition_makes_room_as_exposures_go_on() -> None:
    """An exposure of a unit that has no place moves the clock: what is too old leaves, the unit comes in."""
    state = join(units=2, lateness_ms=HOUR_MS)
    convert(state, "old-1", "purchase", 1.0, 0, "c1")
    convert(state, "old-2", "purchase", 1.0, 0, "c2")
    expose(state, "new", "x", "a", 2 * HOUR_MS, "e1")
    assert units_of(state) == {"new"}


def test_a_full_partition_without_experiments_makes_room_by_conversions() -> None:
    """Where nobody is exposed, the newest conversion tells the time; what is within the lateness stays."""
    state = join(units=2, lateness_ms=HOUR_MS)
    convert(state, "old", "purchase", 1.0, 0, "c1")
    convert(state, "fresh", "purchase", 1.0, 2 * HOUR_MS - 1, "c2")
    convert(state, "new", "purchase", 1.0, 2 * HOUR_MS, "c3")
    assert units_of(state) == {"fresh", "new"}


def test_conversions_that_are_read_ahead_of_the_exposures_wait_for_them() -> None:
    """Days of conversions before the first exposure, as in a replay from the beginning: all are counted."""
    state = join(lateness_ms=HOUR_MS)
    for day in range(5):
        convert(state, f"u{day}", "purchase", 1.0, day * 24 * HOUR_MS + 1, "c")
    for day in range(5):
        expose(state, f"u{day}", "x", "a", day * 24 * HOUR_MS, "e")
    assert row_of(state.board.tallies["x"]).metrics[0].sums.converted_units == 5


def test_conversions_that_no_window_can_hold_are_forgotten() -> None:
    """Of an exposed unit: those before the longest look-back and beyond the longest window leave with the
    lateness."""
    state = join(lateness_ms=HOUR_MS)
    start = MAX_WINDOW_MS + 10 * HOUR_MS
    expose(state, "u", "x", "a", start, "e1")
    for name, at_ms in {"before": 0, "in": start + 1, "beyond": start + MAX_WINDOW_MS + 1}.items():
        convert(state, "u", "purchase", 1.0, at_ms, name)
    before = replace(row_of(state.board.tallies["x"]), hours=())
    expose(state, "v", "y", "a", start + MAX_WINDOW_MS + 3 * HOUR_MS, "e2")
    assert state.store.conversions.at_ms[: state.store.conversions.n].tolist() == [start + 1]
    assert row_of(state.board.tallies["x"]) == before


def test_made_up_experiments_do_not_silence_a_later_one() -> None:
    """At the limit the oldest that nobody defined leave; the one that is defined keeps its units."""
    outcomes = Outcomes()
    state = Join(known("x"), IngestLimits(experiments=4), outcomes)
    expose(state, "u", "x", "a", 0, "e0")
    for number in range(1, 50):
        expose(state, "u", f"made-up-{number}", "a", number, f"e{number}")
    expose(state, "u", "later", "a", 50, "e50")
    assert {"x", "later", "made-up-49"} <= state.board.tallies.keys()
    assert len(state.board.tallies) <= 4
    enrolments = state.store.enrolments
    homes = [state.board.tally_at(place) for place in enrolments.place[: enrolments.n].tolist()]
    assert {each.experiment_id for each in homes} == state.board.tallies.keys()
    assert state.board.tallies["x"].variants["a"].units == 1
    assert outcomes.over_experiments == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_count_of_exposures_beyond_the_limit_does_not_depend_on_order(
    times: list[int], chance: random.Random
) -> None:
    """min(distinct, limit) exposures, in any order and with repetitions, and few ids in memory."""
    state = join(exposures_per_unit=3)
    shuffled = [*times, *times]
    chance.shuffle(shuffled)
    for at_ms in shuffled:
        expose(state, "u", "x", "a", at_ms, f"e{at_ms}")
    assert state.board.tallies["x"].variants["a"].exposures == min(len(set(times)), 3)


def test_a_unit_costs_at_most_64_remembered_exposures() -> None:
    """The default horizon is small: ten thousand exposures of one unit leave 64 ids behind."""
    state = join()
    for number in range(10_000):
        expose(state, "u", "x", "a", number, f"e{number}")
    assert state.store.exposures.n == 64


def test_conversions_wait_as_long_as_a_covariate_looks_back() -> None:
    """Three days before its exposure, with others exposed in between: it is part of the covariate."""
    metric = Metric(name="m", conversion="purchase", covariate_window_ms=7 * 24 * HOUR_MS)
    definitions = Definitions()
    definitions.keep(experiment("x", metrics=(metric,)))
    state = join(definitions)
    convert(state, "u", "purchase", 1.0, 0, "c")
    for day in (3, 4):
        expose(state, f"other-{day}", "x", "a", day * 24 * HOUR_MS, "e")
    expose(state, "u", "x", "a", 5 * 24 * HOUR_MS, "e")
    assert row_of(state.board.tallies["x"]).metrics[0].sums.covariate_total == 1_000_000


def test_an_experiment_that_ended_is_forgotten_after_its_windows() -> None:
    """Late exposures within the lateness count; afterwards, when conversions have been read so far as well,
    its memory is freed, an exposure to it changes nothing, and nothing of it is published again."""
    outcomes, definitions = Outcomes(), known("x", "y")
    ended = experiment("x", revision=2, state=ExperimentState.STOPPED).model_copy(
        update={"ended_at_ms": 1_000}
    )
    state = Join(definitions, IngestLimits(lateness_ms=HOUR_MS, look_back_ms=0), outcomes)
    expose(state, "u", "x", "a", 0, "e1")
    definitions.keep(ended)
    state.upkeep.adopt_definitions()
    expose(state, "v", "x", "a", HOUR_MS, "e2")
    assert row_of(state.board.tallies["x"]).variants[0].units == 2
    state.board.tallies["x"].changed = False
    expose(state, "w", "x", "a", 3 * HOUR_MS, "e3")
    assert outcomes.after_end == 1
    expose(state, "w", "y", "a", 9 * HOUR_MS, "e4")
    assert outcomes.dropped_experiments == 0
    convert(state, "w", "purchase", 1.0, 9 * HOUR_MS, "c1")
    expose(state, "w", "y", "a", 10 * HOUR_MS, "e6")
    assert (outcomes.dropped_experiments, list(state.board.tallies)) == (1, ["y"])
    assert "u" not in units_of(state)
    expose(state, "w", "x", "a", 10, "e5")
    assert (outcomes.after_end, list(state.board.tallies)) == (2, ["y"])
