"""How output becomes lines."""

from deploy.local.logs import LineSplitter, prefixed


def test_lines_come_whole_however_the_bytes_arrive() -> None:
    """A line cut between two reads is one line; a character cut between two reads is one character."""
    splitter = LineSplitter()
    data = "first\nzw\u00f6lf\nrest".encode()
    lines = [line for index in range(len(data)) for line in splitter.feed(data[index : index + 1])]
    assert (lines, splitter.flush(), splitter.flush()) == (["first", "zw\u00f6lf"], ["rest"], [])


def test_an_endless_line_is_cut() -> None:
    """Output without newlines does not grow without limit in memory."""
    splitter = LineSplitter(limit=10)
    assert splitter.feed(b"x" * 25) == ["x" * 10, "x" * 10]
    assert splitter.flush() == ["x" * 5]


def test_bytes_that_are_no_text_are_marked_and_carriage_returns_dropped() -> None:
    """Broken output is shown, not lost."""
    assert LineSplitter().feed(b"\xff ok\r\n") == ["\ufffd ok"]


def test_the_combined_stream_names_the_part() -> None:
    """Names are padded so that the lines stand under each other."""
    assert prefixed("kafka", "up").index("|") == prefixed("metrics-ingest", "up").index("|")
