"""Bodies that a route reads by itself, described for the page at /docs, which then lets them be tried."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

OpenApi = dict[str, Any]
"""What FastAPI's `openapi_extra` takes."""

EVENT: Mapping[str, JsonValue] = {
    "event_id": "7f3a",
    "occurred_at_ms": 1_700_000_000_000,
    "unit_id": "user-42",
    "name": "accepted",
}
BATCH: JsonValue = {"events": [{"type": "conversion", **EVENT}]}
EXPERIMENT: JsonValue = {
    "experiment_id": "button",
    "variants": [{"key": "blue"}, {"key": "green"}],
    "control": "blue",
    "metrics": [{"name": "bought", "conversion": "purchase"}],
}
WHY: Mapping[str, JsonValue] = {"by": "ann", "reason": "it looks good"}
STEPS: Mapping[str, JsonValue] = {
    "start, pause, resume, stop, rollback, advance": {**WHY},
    "promote": {**WHY, "variant": "green"},
    "coverage, to a stage of the ramp": {**WHY, "stage": 1},
    "coverage, less, without a ramp": {**WHY, "coverage": 0.1, "exposed_units": "to_control"},
    "weights, where units are sticky": {**WHY, "weights": {"blue": 1, "green": 3}},
    "forced": {**WHY, "forced": [{"unit_id": "user-42", "variant": "green"}]},
}
LIFT: JsonValue = {**WHY, "version": "3"}
TEMPLATE: JsonValue = {"metrics": [{"name": "bought", "conversion": "purchase"}]}


def body(example: JsonValue) -> OpenApi:
    """Return the description of a JSON object, with one example."""
    return _required({"example": example})


def bodies(examples: Mapping[str, JsonValue]) -> OpenApi:
    """Return the description of a JSON object, with examples to choose from by their names."""
    return _required({"examples": {name: {"value": value} for name, value in examples.items()}})


def query(**kinds: str) -> OpenApi:
    """Return the description of optional query parameters, by name, and their JSON types."""
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": {"type": kind}}
            for name, kind in kinds.items()
        ]
    }


def _required(content: OpenApi) -> OpenApi:
    described = {"schema": {"type": "object"}, **content}
    return {"requestBody": {"required": True, "content": {"application/json": described}}}
