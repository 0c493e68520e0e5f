"""What a rebuild needs of the log, and what the command line means."""

import argparse
from typing import Any

import pytest

from libs.common.bus.ports import TopicPartition
from libs.common.errors import NotFound, Refused
from libs.common.partitions.reset import Wish, add_verbs, check_log, wish_of

TOPICS = ["exposures", "conversions"]


@pytest.fixture
async def shop(workshop: Any) -> Any:
    """A workshop with ten exposures in one partition."""
    shop = workshop()
    await shop.send([("exposures", "unit-2", "1")] * 10)
    return shop


async def test_a_whole_log(shop: Any) -> None:
    """A log that begins at offset 0 everywhere may be read anew."""
    await check_log(shop.bus, TOPICS, None)
    await check_log(shop.bus, TOPICS, shop.place)


async def test_retention_took_some(shop: Any) -> None:
    """Where retention has dropped records the places are named; other partitions are not concerned."""
    shop.bus.forget(TopicPartition("exposures", shop.place), before=4)
    for partition in (None, shop.place):
        with pytest.raises(Refused, match=f"exposures-{shop.place} at offset 4") as error:
            await check_log(shop.bus, TOPICS, partition)
        assert "--from-what-is-left" in error.value.next_step
    await check_log(shop.bus, TOPICS, (shop.place + 1) % 4)


async def test_no_such_partition(shop: Any) -> None:
    """A partition that no topic has is refused."""
    with pytest.raises(NotFound, match="no partition 99"):
        await check_log(shop.bus, TOPICS, 99)


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("reset --yes", Wish()),
        ("reset --yes --partition 3 --force", Wish(3, force=True)),
        ("rebuild --yes", Wish(whole_log=True)),
        ("rebuild --yes --from-what-is-left", Wish()),
    ],
)
def test_the_command_line(words: str, wish: Wish) -> None:
    """Each word means one thing."""
    parser = argparse.ArgumentParser()
    add_verbs(parser.add_subparsers())
    assert wish_of(parser.parse_args(words.split())) == wish


def test_without_a_yes(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is forgotten without a yes."""
    parser = argparse.ArgumentParser()
    add_verbs(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["reset"])
    assert "--yes" in capsys.readouterr().err
