"""When a part that died is started again."""

from deploy.local.backoff import Restarts


def test_first_restart_is_immediate_and_the_next_ones_wait_ever_longer() -> None:
    """Deaths in a row wait 0, 0.5, 1, 2 seconds."""
    restarts = Restarts(base_s=0.5, cap_s=10.0, limit=9)
    assert [restarts.record(now) for now in (0.0, 1.0, 2.0, 3.0)] == [0.0, 0.5, 1.0, 2.0]


def test_the_wait_is_capped() -> None:
    """However often a part dies, it waits no longer than the cap."""
    restarts = Restarts(base_s=1.0, cap_s=3.0, limit=50)
    assert [restarts.record(0.0) for _ in range(20)][-1] == 3.0


def test_gives_up_after_too_many_deaths_within_the_window() -> None:
    """One death more than the limit within a minute means that restarting does not help."""
    restarts = Restarts(limit=3, window_s=60.0)
    assert [restarts.record(now) is None for now in (0.0, 1.0, 2.0, 3.0)] == [False, False, False, True]


def test_old_deaths_are_forgotten() -> None:
    """A part that lived longer than the window starts again at once, as after its first death."""
    restarts = Restarts(limit=1, window_s=60.0)
    assert restarts.record(0.0) == 0.0
    assert restarts.record(60.0) == 0.0
