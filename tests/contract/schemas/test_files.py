"""What is committed is what the models say."""

import json

from schemas import compatibility, generate
from schemas.topics import TOPICS


def test_the_generated_files_are_up_to_date() -> None:
    """`make schemas` would change nothing."""
    assert generate.stale() == []


def test_the_models_are_compatible_with_what_is_committed() -> None:
    """No event lost a field or narrowed one since the last commit."""
    assert compatibility.check(compatibility.committed("HEAD")) == []


def test_the_asyncapi_document_names_every_topic() -> None:
    """Every topic, with its key, its kind and who sends and receives; no reference leads nowhere."""
    document = generate.asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == set(TOPICS)
    for topic in TOPICS.values():
        channel = document["channels"][topic.name]
        assert topic.key in channel["description"]
        assert channel["bindings"]["kafka"]["partitions"] == topic.partitions
        for service in topic.producers:
            assert document["operations"][f"{service}-sends-{topic.name}"]["action"] == "send"
    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def references(node: object) -> list[str]:
    """Return every reference within a document."""
    if isinstance(node, list):
        return [each for member in node for each in references(member)]
    if not isinstance(node, dict):
        return []
    found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return found + [each for member in node.values() for each in references(member)]


def test_the_documents_are_stable() -> None:
    """The same models give the same bytes."""
    assert generate.documents() == generate.documents()
    assert all(json.loads(text) for text in generate.documents().values())
