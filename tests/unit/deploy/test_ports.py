"""Which ports are taken: the friendly one if it is free, never an ephemeral one."""

import pytest

from deploy.local.errors import StackError
from deploy.local.ports import EPHEMERAL_FLOOR, LOWEST, Port, candidates, choose_port


def test_prefers_the_friendly_port() -> None:
    """With everything free, the default is chosen."""
    assert choose_port(8080, Port).number == 8080


def test_takes_the_next_free_one() -> None:
    """Ports that someone has are skipped, in order."""
    taken = {8080, 8081}
    assert choose_port(8080, lambda number: None if number in taken else Port(number)).number == 8082


def test_never_offers_a_privileged_or_an_ephemeral_port() -> None:
    """A port that the kernel may give to an outgoing connection could be gone when a part starts again."""
    offered = list(candidates(EPHEMERAL_FLOOR - 2))[1:]
    assert all(LOWEST <= number < EPHEMERAL_FLOOR for number in offered)


def test_says_so_when_none_is_free() -> None:
    """The error names the port it began with and how to see who listens."""
    with pytest.raises(StackError, match=r"from 8080 upwards[\s\S]*ss -ltn"):
        choose_port(8080, lambda number: None)
