"""`python -m schemas.generate`: writes JSON Schema for every event and an AsyncAPI 3 document of the topics.

With `--check` it writes nothing and exits with 1 when a file is not what the models say.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from schemas.event import Contract
from schemas.topics import TOPICS, Topic, TopicKind

FOLDER = Path(__file__).parent
JSON_FOLDER = "json"
ASYNCAPI = "asyncapi.json"
VERSION = "0.1.0"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CLOUD_EVENTS = {
    "ce_specversion": "always 1.0",
    "ce_id": "the same for the same event",
    "ce_source": "the service that sent it",
    "ce_type": "trimtab. and the event's type",
    "ce_time": "when it occurred, RFC 3339",
    "traceparent": "W3C trace context, where there is a trace",
}

Json = dict[str, Any]


def event_types() -> Mapping[str, type[Contract]]:
    """Return every event's `type` and its model, in the order of the topics."""
    return {type_of(model): model for topic in TOPICS.values() for model in topic.carries}


def type_of(model: type[Contract]) -> str:
    """Return the `type` that marks this event on the bus."""
    return str(model.model_fields["type"].default)


def json_schema(name: str, model: type[Contract]) -> Json:
    """Return the JSON Schema of one event: what a reader accepts."""
    schema = _closed(model.model_json_schema())
    return {"$schema": _DIALECT, "$id": f"urn:trimtab:{name}", **schema}


def _closed(node: Any) -> Any:
    """Refuse keys that do not fit the pattern of a dictionary: pydantic does, its schema does not say it."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in closed else closed


def asyncapi() -> Json:
    """Return the AsyncAPI 3.0 document: every topic, who sends and who receives, and what it carries."""
    models = event_types()
    _, definitions = models_json_schema(
        [(model, "validation") for model in models.values()], ref_template="#/components/schemas/{model}"
    )
    operations: Json = {}
    for topic in TOPICS.values():
        operations |= {f"{name}-sends-{topic.name}": _operation("send", topic) for name in topic.producers}
        operations |= {
            f"{name}-receives-{topic.name}": _operation("receive", topic) for name in topic.consumers
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Trimtab",
            "version": VERSION,
            "description": "Every fact between the parts of Trimtab is an event on Kafka. Records are JSON.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS.values()},
        "operations": operations,
        "components": {
            "messages": {
                type_of(model): _message(model, topic) for topic in TOPICS.values() for model in topic.carries
            },
            "schemas": _closed(definitions["$defs"]),
        },
    }


def _channel(topic: Topic) -> Json:
    compacted = topic.kind is TopicKind.STATE
    settings: Json = {"cleanup.policy": ["compact" if compacted else "delete"]}
    if not compacted:
        settings["retention.ms"] = topic.retention_ms
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. "
        + ("The latest record per key is kept for good." if compacted else "Facts, kept for a time."),
        "messages": {
            type_of(model): {"$ref": f"#/components/messages/{type_of(model)}"} for model in topic.carries
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": settings,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operation(action: str, topic: Topic) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}}


def _message(model: type[Contract], topic: Topic) -> Json:
    message: Json = {
        "name": type_of(model),
        "title": model.__name__,
        "summary": (model.__doc__ or "").strip().splitlines()[0],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"the event's {topic.key}"},
                "bindingVersion": "0.5.0",
            }
        },
    }
    if topic.key != "unit_id":
        headers = {name: {"type": "string", "description": what} for name, what in _CLOUD_EVENTS.items()}
        message["headers"] = {"type": "object", "properties": headers}
    return message


def documents() -> Mapping[str, str]:
    """Return all files by their path under `schemas/`, always the same for the same models."""
    found = {f"{JSON_FOLDER}/{name}.json": json_schema(name, model) for name, model in event_types().items()}
    found[ASYNCAPI] = asyncapi()
    return {
        path: json.dumps(found[path], indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for path in sorted(found)
    }


def stale(folder: Path = FOLDER) -> list[str]:
    """Return the paths under `folder` that are missing, differ from the models, or describe no event."""
    wanted = documents()
    differing = [path for path, text in wanted.items() if _read(folder / path) != text]
    return sorted([*differing, *_orphans(folder, wanted)])


def write(folder: Path = FOLDER) -> list[str]:
    """Make the files say what the models say. Returns the paths that changed."""
    changed = stale(folder)
    wanted = documents()
    (folder / JSON_FOLDER).mkdir(parents=True, exist_ok=True)
    for path in changed:
        if path in wanted:
            (folder / path).write_text(wanted[path], encoding="utf-8")
        else:
            (folder / path).unlink()
    return changed


def _orphans(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    there = [f"{JSON_FOLDER}/{path.name}" for path in (folder / JSON_FOLDER).glob("*.json")]
    return [path for path in there if path not in wanted]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: list[str] | None = None) -> int:
    """Write, or with --check only look. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when files are stale")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files lie")
    options = parser.parse_args(arguments)
    if not options.check:
        for path in write(options.folder):
            sys.stdout.write(f"wrote {path}\n")
        return 0
    found = stale(options.folder)
    for path in found:
        sys.stdout.write(f"stale: {path}\n")
    if found:
        sys.stdout.write("run `make schemas` and commit what it writes\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
