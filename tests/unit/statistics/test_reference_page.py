"""The page of disagreements with other programs."""

from pathlib import Path

from tests.oracles.page import page


def test_the_page_says_what_the_tests_say() -> None:
    """docs/reference/oracles.md is what `python -m tests.oracles.page` writes: the headers of the tests."""
    file = Path(__file__).parents[3] / "docs" / "reference" / "oracles.md"
    assert file.read_text() == page()
