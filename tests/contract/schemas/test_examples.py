"""The examples are the contract made visible: models, Structs and JSON Schemas say the same of each."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from schemas import generate, hot
from schemas.decode import Malformed, decode
from schemas.event import Contract
from schemas.topics import TOPICS, UNIT_TOPICS

NOW_MS = 1_700_000_000_000
EXAMPLES = Path(generate.__file__).parent / "examples"
TOPIC_OF = {generate.type_of(model): topic.name for topic in TOPICS.values() for model in topic.carries}
VALID = sorted(path for path in EXAMPLES.glob("*/*.json"))
INVALID = sorted(path for path in EXAMPLES.glob("invalid/*/*.json"))
BEYOND_JSON_SCHEMA = (
    "a-day-ahead-and-more",
    "control-is-not-a-variant",
    "champion-challenger-without-model",
    "same-key-twice",
    "neither-label-nor-rating",
    "infinite",
    "not-a-number",
    "lone-surrogate",
)
"""What no JSON Schema can say: rules between fields, the present, and what Python's parser lets through."""


def name(path: Path) -> str:
    """Return what identifies an example in a report."""
    return f"{path.parent.name}/{path.stem}"


@cache
def validator(kind: str) -> Any:
    """Return what checks against the JSON Schema of one event."""
    schema = generate.json_schema(kind, generate.event_types()[kind])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def of_kind(paths: list[Path], *kinds: str) -> list[Path]:
    """Return the examples of these events."""
    return [path for path in paths if path.parent.name in kinds]


HOT_KINDS = tuple(kind for kind, topic in TOPIC_OF.items() if topic in UNIT_TOPICS)


def test_every_event_has_examples() -> None:
    """Each event shows at least two valid examples, non-ASCII text and its limits, and invalid ones."""
    for kind in generate.event_types():
        stems = {path.stem for path in of_kind(VALID, kind)}
        assert len(stems) >= 2
        assert "limits" in stems
        assert any("non-ascii" in stem for stem in stems)
        assert len(of_kind(INVALID, kind)) >= 3


@pytest.mark.parametrize("path", VALID, ids=name)
def test_a_valid_example_survives_the_round_trip(path: Path) -> None:
    """It decodes, and what is written again decodes to the same event."""
    kind = path.parent.name
    event = decode(TOPIC_OF[kind], path.read_bytes(), NOW_MS)
    assert generate.type_of(type(event)) == kind
    assert decode(TOPIC_OF[kind], event.to_json(), NOW_MS) == event


@pytest.mark.parametrize("path", VALID, ids=name)
def test_a_valid_example_fits_its_json_schema(path: Path) -> None:
    """What a model accepts, its JSON Schema accepts, as it lies there and as it is written again."""
    kind = path.parent.name
    validator(kind).validate(json.loads(path.read_bytes()))
    validator(kind).validate(json.loads(decode(TOPIC_OF[kind], path.read_bytes(), NOW_MS).to_json()))


@pytest.mark.parametrize("path", VALID, ids=name)
def test_unknown_fields_are_tolerated(path: Path) -> None:
    """A newer producer may say more; an older reader does not mind."""
    kind = path.parent.name
    more = {**json.loads(path.read_bytes()), "from_the_future": {"a": [1, None]}}
    assert decode(TOPIC_OF[kind], json.dumps(more).encode(), NOW_MS) == decode(
        TOPIC_OF[kind], path.read_bytes(), NOW_MS
    )


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_an_invalid_example_is_refused_at_its_field(path: Path) -> None:
    """The error names the field that the file's name says (`whole`: none)."""
    with pytest.raises(Malformed) as caught:
        decode(TOPIC_OF[path.parent.name], path.read_bytes(), NOW_MS)
    expected = path.stem.partition("--")[0].replace("whole", "")
    # Where a topic carries several events, the path starts with the one that `type` chose.
    field = caught.value.field.removeprefix(f"{path.parent.name}.")
    # Where a value may be of several kinds, the path ends with one of them.
    assert field == expected or (expected and field.startswith(f"{expected}."))
    assert caught.value.problem


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_an_invalid_example_does_not_fit_its_json_schema(path: Path) -> None:
    """A producer that checks against the JSON Schema finds the same, as far as one can say it."""
    if path.stem.endswith(BEYOND_JSON_SCHEMA):
        return
    try:
        value: Any = json.loads(path.read_bytes())
    except ValueError:
        return
    assert not validator(path.parent.name).is_valid(value)


@pytest.mark.parametrize("path", of_kind(VALID, *HOT_KINDS), ids=name)
def test_hot_reads_the_same_values(path: Path) -> None:
    """msgspec's Struct holds what pydantic's model holds, alone and among all the others of its topic."""
    topic = TOPIC_OF[path.parent.name]
    event: Contract = decode(topic, path.read_bytes(), NOW_MS)
    (alone,) = hot.decode_batch(topic, [path.read_bytes()], NOW_MS)
    absent: dict[str, Any] = {"attributes": {}} if isinstance(alone, hot.Exposure | hot.Conversion) else {}
    assert absent | msgspec.to_builtins(alone) == event.model_dump()
    everything = of_kind(VALID + INVALID, path.parent.name)
    answers = hot.decode_batch(topic, [each.read_bytes() for each in everything], NOW_MS)
    assert answers[everything.index(path)] == alone


@pytest.mark.parametrize("path", of_kind(INVALID, *HOT_KINDS), ids=name)
def test_hot_refuses_the_same_and_names_the_same_field(path: Path) -> None:
    """msgspec refuses what pydantic refuses; the reason begins with the field that the file's name says."""
    topic = TOPIC_OF[path.parent.name]
    (reason,) = hot.decode_batch(topic, [path.read_bytes()], NOW_MS)
    assert isinstance(reason, str)
    expected = path.stem.partition("--")[0]
    if expected == "whole":
        assert reason
        assert not any(reason.startswith(f"{field}:") for field in ("type", "unit_id", "event_id"))
    else:
        field, _, problem = reason.partition(": ")
        assert field == expected or field.startswith(f"{expected}.")
        assert problem
