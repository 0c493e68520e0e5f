"""The golden vectors: what every client in every language must find, and the page that shows them."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from growthbook.core import evalCondition, gbhash

from trimtab.assignments import Assignment
from trimtab.bucketing import bucket, bucket_of, growthbook_v2, pick, ranges
from trimtab.conditions import LEAVES, NESTED, compile_condition
from trimtab.evaluation import evaluate
from trimtab.rules import parse
from trimtab.vectors import TABLES, BadPage, main, render, vectors

VECTORS = vectors()
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "bucketing.md"
RULES = parse(VECTORS["evaluations"]["rules"])
CASES: list[dict[str, Any]] = VECTORS["evaluations"]["cases"]


@pytest.mark.parametrize("name", ["buckets", "growthbook_v2"])
def test_vectors_hold_the_hard_ids(name: str) -> None:
    """The vectors of each hash hold the empty id, ids of 256 characters, beyond ASCII and beyond 16 bits."""
    ids = {each["unit_id"] for each in VECTORS[name]}
    assert {len(each) for each in ids} >= {0, 256}
    assert sum(not each.isascii() for each in ids) >= 5
    assert any(ord(character) > 0xFFFF for each in ids for character in each)


def test_buckets() -> None:
    """Every published place by SHA-256 is found again, to the last bit, and follows from its bytes."""
    for each in VECTORS["buckets"]:
        assert bucket(each["salt"], each["unit_id"]) == each["bucket"], each
        assert (int(each["first_8_bytes"], 16) >> 11) / 2**53 == each["bucket"]


def test_growthbook_places() -> None:
    """Every published place by GrowthBook's hash is found again, here and by GrowthBook."""
    for each in VECTORS["growthbook_v2"]:
        assert growthbook_v2(each["salt"], each["unit_id"]) == each["bucket"], each
        assert gbhash(each["salt"], each["unit_id"], 2) == each["bucket"], each


def test_variants() -> None:
    """Every published choice of a variant is made again."""
    for each in VECTORS["variants"]:
        owned = ranges(each["weights"], each["coverage"])
        assert pick(owned, bucket(each["salt"], each["unit_id"])) == each["variant"], each


def test_members() -> None:
    """Every published member of a group or a holdout is one, and of each there are some and not all."""
    for each in VECTORS["members"]:
        place = bucket_of(each["hashing"], each["salt"], each["unit_id"])
        assert (each["start"] <= place < each["end"]) == each["member"], each
    assert len({(each["hashing"], each["salt"][:5], each["member"]) for each in VECTORS["members"]}) == 8


def test_conditions() -> None:
    """Every published condition has its answer, here and by GrowthBook."""
    attributes = VECTORS["attributes"]
    for each in VECTORS["conditions"]:
        assert compile_condition(each["condition"])(attributes) is each["answer"], each
        assert evalCondition(attributes, each["condition"]) is each["answer"], each


def test_conditions_use_every_operator() -> None:
    """The vectors hold every operator."""
    text = str(VECTORS["conditions"])
    assert [name for name in (*LEAVES, *NESTED, "$and", "$or", "$nor") if f"'{name}'" not in text] == []


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_evaluations(case: dict[str, Any]) -> None:
    """Every published assignment is made again, field by field."""
    given = case.get("given")
    found = evaluate(
        RULES,
        case["key"],
        case["unit_id"],
        case.get("attributes", {}),
        lambda _, __: None if given is None else (given[0], given[1]),
    )
    expected: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in case["assignment"].items()
    }
    assert expected.keys() == {each.name for each in fields(Assignment)}
    assert found == Assignment(**expected)


def test_evaluations_hold_every_reason() -> None:
    """The vectors hold every reason that a rule set alone can give."""
    reasons = {each["assignment"]["reason"] for each in CASES}
    assert reasons >= {
        "assigned",
        "flag",
        "shadow",
        "forced",
        "outside",
        "not_targeted",
        "excluded",
        "held_out",
    }
    assert reasons >= {"paused", "settled", "champion", "unknown"}


def test_the_page_is_current() -> None:
    """`docs/reference/bucketing.md` shows the vectors as they are, all of them."""
    page = PAGE.read_text("utf-8")
    assert render(page) == page, "run: python -m trimtab.vectors docs/reference/bucketing.md"
    assert all(f"<!-- vectors: {name} -->" in page for name in TABLES)


def test_a_page_is_brought_up_to_date(tmp_path: Path) -> None:
    """The command replaces what lies between the marks and leaves the rest."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- vectors: conditions -->\nold\n<!-- end -->\nrest\n")
    assert main([str(page)]) == 0
    assert "old" not in page.read_text()
    assert page.read_text().startswith("# Title\n")
    assert page.read_text().endswith("\nrest\n")


def test_the_vectors_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a page the command prints the vectors."""
    assert main([]) == 0
    assert '"growthbook_v2"' in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page with an unknown table, without any, or none at all ends the command with 1 and a reason."""
    page = tmp_path / "page.md"
    for text in ("<!-- vectors: nothing -->\n<!-- end -->", "no marks"):
        page.write_text(text)
        assert main([str(page)]) == 1
        assert page.read_text() == text
    assert main([str(tmp_path / "missing.md")]) == 1
    assert "there is no table nothing" in capsys.readouterr().err
    with pytest.raises(BadPage):
        render("")
