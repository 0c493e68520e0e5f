"""The dataset of labelled examples on a disk."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from libs.common.errors import Retryable
from services.drift.adapters.examples import ExampleDataset
from services.drift.domain.rows import Example

DAY_MS = 86_400_000


def _example(number: int, **changes: object) -> Example:
    fields: dict[str, object] = {
        "prediction_id": f"p{number}",
        "unit_id": "u",
        "occurred_at_ms": 1_700_000_000_000 + number,
        "labelled_at_ms": 1_700_000_000_500 + number,
        "model": "digits",
        "model_version": "1",
        "features": {"x": float(number), "süß": 1.0},
        "output": "3",
        "label": "4",
        "confidence": None,
    }
    return Example(**{**fields, **changes})  # type: ignore[arg-type]


def test_examples_can_be_read_back(tmp_path: Path) -> None:
    """A hand-out gives one file per model and day, with a column for every numeric feature."""
    examples = [
        _example(1),
        _example(2, features={"y": 2.0}, confidence=0.5),
        _example(3, occurred_at_ms=1_700_000_000_000 + DAY_MS),
        _example(4, model="other"),
    ]
    files = ExampleDataset(tmp_path / "new" / "examples").write(2, examples)
    places = [path.parent.relative_to(tmp_path / "new" / "examples").as_posix() for path in files]
    assert places == [
        "model=digits/day=2023-11-14", "model=digits/day=2023-11-15", "model=other/day=2023-11-14",
    ]  # fmt: skip
    table = pq.ParquetFile(files[0]).read().to_pydict()
    assert table["prediction_id"] == ["p1", "p2"]
    assert (table["f_x"], table["f_y"], table["f_süß"]) == ([1.0, None], [None, 2.0], [1.0, None])
    assert (table["output"], table["label"]) == (["3", "3"], ["4", "4"])
    assert table["confidence"] == [None, 0.5]
    assert files[0].name.startswith("part-2-")


def test_same_hand_out_is_one_file(tmp_path: Path) -> None:
    """Writing the same examples again replaces the file, and nothing hidden is left."""
    dataset = ExampleDataset(tmp_path)
    assert dataset.write(0, [_example(1)]) == dataset.write(0, [_example(1)])
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_disk_that_refuses_is_retryable(tmp_path: Path) -> None:
    """Where the folder cannot be made the error says so, and what to do."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Retryable, match="examples cannot be written") as caught:
        ExampleDataset(tmp_path / "file").write(0, [_example(1)])
    assert "EXAMPLES_DIR" in caught.value.next_step
