"""An outage must not cost every call its time-out."""

from trimtab.breaker import MAX_PAUSE_MS, Breaker


class Hand:
    """A clock that is set by hand, in milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_ms


def test_all_pass_while_all_is_well() -> None:
    """Without a failure nobody is held back."""
    breaker = Breaker(Hand())
    breaker.worked()
    assert all(breaker.may_ask() for _ in range(5))


def test_one_tries_after_a_pause() -> None:
    """After a failure nobody asks until the pause is over; then one does, and the others still wait."""
    clock = Hand()
    breaker = Breaker(clock)
    breaker.failed()
    assert not breaker.may_ask()
    clock.now_ms = 101
    assert [breaker.may_ask() for _ in range(3)] == [True, False, False]
    breaker.worked()
    assert breaker.may_ask()


def test_pause_doubles_up_to_its_limit() -> None:
    """Every try that fails makes the next pause longer, up to five seconds."""
    clock = Hand()
    breaker = Breaker(clock)
    pauses = []
    for _ in range(10):
        began = clock.now_ms
        breaker.failed()
        while not breaker.may_ask():
            clock.now_ms += 10
        pauses.append(clock.now_ms - began)
    assert pauses[0] <= 110
    assert pauses[2] > pauses[0]
    assert MAX_PAUSE_MS / 2 <= pauses[-1] <= MAX_PAUSE_MS + 10


def test_failures_on_their_way_together_are_one() -> None:
    """Calls that fail after the first of an outage lengthen nothing."""
    clock = Hand()
    breaker = Breaker(clock)
    for _ in range(50):
        breaker.failed()
    clock.now_ms = 101
    assert breaker.may_ask()


def test_service_says_how_long() -> None:
    """Where the service asks for a time it is given, within the limit."""
    clock = Hand()
    breaker = Breaker(clock)
    breaker.failed(retry_after_ms=2_000)
    clock.now_ms = 1_999
    assert not breaker.may_ask()
    clock.now_ms = 2_000
    assert breaker.may_ask()
    breaker.failed(retry_after_ms=3_600_000)
    clock.now_ms = 2_000 + MAX_PAUSE_MS
    assert breaker.may_ask()


def test_try_that_never_ends_blocks_nobody() -> None:
    """Where the one that tries never reports, another may after one more pause."""
    clock = Hand()
    breaker = Breaker(clock)
    breaker.failed()
    clock.now_ms = 101
    assert breaker.may_ask()
    clock.now_ms = 202
    assert breaker.may_ask()
