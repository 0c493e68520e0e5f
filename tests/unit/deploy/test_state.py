"""What a stack writes down about itself."""

import pytest

from deploy.local.state import PartRecord, StackRecord, as_text, from_text
from deploy.local.table import as_json, without_password

RECORD = StackRecord(
    phase="ready",
    supervisor_pid=0,
    supervisor_mark="",
    parts=(PartRecord("kafka", "127.0.0.1:9092", "ready", 0, "boot:17", ready_after_s=2.5),),
    addresses={"DATABASE_URL": "postgresql://trimtab:secret@127.0.0.1:5432/postgres"},
)


def test_reads_back_what_it_wrote() -> None:
    """No field is lost on the way through the file."""
    assert from_text(as_text(RECORD)) == RECORD


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 99, "parts": []}', '{"format": 1, "parts": [1]}']
)
def test_a_file_it_does_not_understand_is_as_good_as_none(text: str) -> None:
    """Half a file, or one of another version, never raises."""
    assert from_text(text) is None


def test_a_password_is_never_shown() -> None:
    """Neither the table's addresses nor the JSON for programs hold it."""
    assert "secret" not in str(as_json(RECORD))
    assert without_password("postgresql://u:p%40ss@h:1/d") == "postgresql://u:***@h:1/d"
    assert without_password("127.0.0.1:9092") == "127.0.0.1:9092"
