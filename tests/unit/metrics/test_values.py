"""Any text in a column of PostgreSQL."""

from hypothesis import example, given
from hypothesis import strategies as st

from services.metrics.adapters.values import from_column, to_column


@given(st.text(st.sampled_from("\\0\0aé\n")))
@example("\\0\0\\\\\0")
def test_any_text_comes_back_as_it_was(text: str) -> None:
    """What stands in the column has no NUL, and gives the text again: different texts stay different."""
    column = to_column(text)
    assert "\0" not in column
    assert from_column(column) == text
