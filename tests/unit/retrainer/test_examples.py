"""Reading the Parquet dataset that drift writes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from libs.common.errors import Refused
from services.retrainer.adapters.examples import ParquetCounter, ParquetExamples, natural_order

DAY_MS = 86_400_000
NOON_MS = 1_767_268_800_000
"""2026-01-01T12:00:00Z."""


def write(
    folder: Path, name: str, first: int, count: int, *, day: str = "2026-01-01", **columns: object
) -> None:
    """Write predictions `first`, `first` + 1, ... of model `m`, one a second."""
    numbers = range(first, first + count)
    table = {
        "prediction_id": [f"p{each:05d}" for each in numbers],
        "unit_id": [f"u{each}" for each in numbers],
        "occurred_at_ms": [NOON_MS + each * 1_000 for each in numbers],
        "labelled_at_ms": [NOON_MS + each * 1_000 for each in numbers],
        "model_version": ["1"] * count,
        "output": ["0"] * count,
        "label": [str(each % 2) for each in numbers],
        "confidence": [0.9] * count,
        "f_x10": [float(each) for each in numbers],
        "f_x9": [float(-each) for each in numbers],
        **columns,
    }
    place = folder / "model=m" / f"day={day}"
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), place / name)


def read(folder: Path, *, most: int = 1_000, from_ms: int = NOON_MS):
    """Read everything of model `m`."""
    return ParquetExamples(folder).read("m", from_ms, NOON_MS + 10 * DAY_MS, most=most)


def test_repeated_predictions_count_once(tmp_path: Path) -> None:
    """Files that overlap, as a restarted writer leaves them, give each prediction once, in order of time."""
    write(tmp_path, "b.parquet", 5, 10)
    write(tmp_path, "a.parquet", 0, 10)
    found = read(tmp_path)
    assert found.ids.tolist() == [f"p{each:05d}" for each in range(15)]
    assert np.all(np.diff(found.times_ms) > 0)
    assert ParquetExamples(tmp_path).count("m", NOON_MS, enough=100) == 15


def test_features_stand_in_natural_order(tmp_path: Path) -> None:
    """x9 comes before x10, and the table's columns follow."""
    write(tmp_path, "a.parquet", 0, 4)
    found = read(tmp_path)
    assert found.features == ("x9", "x10")
    assert found.table[1].tolist() == [-1.0, 1.0]
    assert sorted(["pixel_10", "pixel_2", "a"], key=natural_order) == ["a", "pixel_2", "pixel_10"]


def test_window_and_limit_choose_the_latest(tmp_path: Path) -> None:
    """Examples before the window are left out; of too many the latest stay."""
    write(tmp_path, "a.parquet", 0, 50)
    assert read(tmp_path, from_ms=NOON_MS + 20_000).ids[0] == "p00020"
    assert read(tmp_path, most=10).ids.tolist() == [f"p{each:05d}" for each in range(40, 50)]


def test_files_may_differ_in_their_features(tmp_path: Path) -> None:
    """A feature that one file lacks is missing there; one without any value is left out and named."""
    write(tmp_path, "a.parquet", 0, 3, f_new=pa.nulls(3, pa.float64()))
    write(tmp_path, "b.parquet", 3, 3, f_late=[1.0, 2.0, 3.0])
    found = read(tmp_path)
    assert found.features == ("late", "x9", "x10")
    assert np.isnan(found.table[:3, 0]).all()
    assert found.notes == ("Feature new has no value at all and was left out.",)


def test_text_features_are_left_out_and_named(tmp_path: Path) -> None:
    """A feature that is text is no number to learn from: it is left out, and the notes say so."""
    write(tmp_path, "a.parquet", 0, 2, f_colour=["red", "blue"])
    found = read(tmp_path)
    assert "colour" not in found.features
    assert "text" in found.notes[0]


def test_broken_file_costs_itself_only(tmp_path: Path) -> None:
    """A file that is no Parquet is skipped and named; hidden files are not looked at."""
    write(tmp_path, "a.parquet", 0, 3)
    (tmp_path / "model=m" / "day=2026-01-01" / "b.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "model=m" / "day=2026-01-01" / ".part-c.parquet").write_bytes(b"half")
    found = read(tmp_path)
    assert len(found) == 3
    assert found.notes == ("day=2026-01-01/b.parquet cannot be read and was left out.",)


def test_unlabelled_rows_are_no_examples(tmp_path: Path) -> None:
    """A row without a label counts nowhere."""
    write(tmp_path, "a.parquet", 0, 3, label=["1", None, "0"])
    assert len(read(tmp_path)) == 2
    assert ParquetExamples(tmp_path).count("m", NOON_MS, enough=9) == 2


def test_nothing_there_is_said(tmp_path: Path) -> None:
    """No folder, or nothing in the window, is refused in words and counts as none."""
    with pytest.raises(Refused, match="no labelled examples of m"):
        read(tmp_path)
    assert ParquetExamples(tmp_path).count("m", NOON_MS, enough=9) == 0


def test_contradicting_files_are_refused(tmp_path: Path) -> None:
    """The same feature as number and as text cannot be one column: refused with the reason."""
    write(tmp_path, "a.parquet", 0, 2)
    write(tmp_path, "b.parquet", 2, 2, f_x9=["a", "b"])
    with pytest.raises(Refused, match="contradict"):
        read(tmp_path)


async def test_counting_stops_when_there_are_enough(tmp_path: Path) -> None:
    """Newest days are counted first, and older ones not at all once there are enough."""
    write(tmp_path, "a.parquet", 0, 5)
    old = tmp_path / "model=m" / "day=2025-12-31"
    old.mkdir()
    (old / "broken.parquet").write_bytes(b"")
    assert await ParquetCounter(tmp_path).count("m", NOON_MS, enough=5) == 5


def part(partition: int, last: int) -> str:
    """The name that drift gives a file whose last label became known with prediction `last`."""
    return f"part-{partition}-{NOON_MS + last * 1_000}-abcdef012345.parquet"


def test_of_too_many_the_latest_stay_across_partitions(tmp_path: Path) -> None:
    """Of a day that several partitions wrote, the latest are taken, whatever order the files' names have."""
    for partition in range(4):
        for step in range(3):
            first = step * 40 + partition * 10
            write(tmp_path, part(partition, first + 9), first, 10)
    assert read(tmp_path, most=10).ids.tolist() == [f"p{each:05d}" for each in range(110, 120)]
    assert read(tmp_path, most=25).ids.tolist() == [f"p{each:05d}" for each in range(95, 120)]


def test_older_days_fill_up_what_the_newest_lacks(tmp_path: Path) -> None:
    """Repeated predictions do not count towards the limit: an older day is read until there are enough."""
    for partition in range(3):
        write(tmp_path, part(partition, 9), 0, 10)
    times = [NOON_MS - DAY_MS + each * 1_000 for each in range(100, 110)]
    yesterday = {"occurred_at_ms": times, "labelled_at_ms": times}
    write(tmp_path, part(0, 110), 100, 10, day="2025-12-31", **yesterday)
    found = read(tmp_path, most=15, from_ms=NOON_MS - 2 * DAY_MS)
    assert found.ids.tolist() == [
        *(f"p{each:05d}" for each in range(105, 110)),
        *(f"p{each:05d}" for each in range(10)),
    ]


def test_window_is_that_of_the_labels(tmp_path: Path) -> None:
    """An example belongs to the window in which its label became known, weeks after the prediction or not;
    the order stays that of the predictions."""
    labelled = [NOON_MS + 40 * DAY_MS - each for each in range(20)]
    write(tmp_path, "part-0-" + str(max(labelled)) + "-a.parquet", 0, 20, labelled_at_ms=labelled)
    write(tmp_path, part(1, 39), 20, 20)
    dataset, from_ms = ParquetExamples(tmp_path), NOON_MS + 40 * DAY_MS - 9
    assert dataset.count("m", from_ms, enough=100) == 10
    found = dataset.read("m", from_ms, NOON_MS + 41 * DAY_MS, most=100)
    assert found.ids.tolist() == [f"p{each:05d}" for each in range(10)]
    with pytest.raises(Refused):
        dataset.read("m", from_ms, from_ms - 1, most=100)


def test_without_time_of_the_label_that_of_the_prediction_counts(tmp_path: Path) -> None:
    """Files from before the column, and rows without a value in it, go by the time of the prediction."""
    write(tmp_path, "a.parquet", 0, 10, labelled_at_ms=pa.nulls(10, pa.int64()))
    write(tmp_path, "b.parquet", 10, 10)
    file = tmp_path / "model=m" / "day=2026-01-01" / "b.parquet"
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["labelled_at_ms"]), file)
    assert len(read(tmp_path, from_ms=NOON_MS + 5_000)) == 15


def test_files_with_old_labels_only_are_not_opened(tmp_path: Path) -> None:
    """The file's name tells its latest label: what is older than the window costs nothing, broken or not."""
    write(tmp_path, part(0, 9), 0, 10)
    (tmp_path / "model=m" / "day=2026-01-01" / f"part-1-{NOON_MS - 1}-x.parquet").write_bytes(b"")
    assert read(tmp_path).notes == ()
