"""OpenFeature's SDKs of Python and JavaScript, with their OFREP providers, on the running service."""

import asyncio
import json
import logging
import secrets
import sys
from typing import Any

import pytest
from openfeature.api import get_client, set_provider
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from deploy.local.stack import LocalStack
from services.assignment.config import AssignmentSettings
from tests.clients.javascript.harness import run_script
from tests.integration.assignment.running import CLOCK, Place, free_port, served, until

log = logging.getLogger(__name__)

VALUES = {"boolean": True, "string": "grün", "integer": 7, "float": 1.0, "object": {"a": [1.5, "x"]}}
OTHER = {"boolean": False, "string": "", "integer": 0, "float": 0.5, "object": {}}


async def ask(url: str, kind: str, key: str, default: Any, context: EvaluationContext) -> Any:
    """Evaluate a flag with the Python SDK, in a thread: it blocks."""
    provider = OFREPProvider(url)
    domain = secrets.token_hex(4)

    def evaluate() -> FlagEvaluationDetails[Any]:
        set_provider(provider, domain)
        client: OpenFeatureClient = get_client(domain)
        try:
            return getattr(client, f"get_{kind}_details")(key, default, context)
        finally:
            provider.session.close()

    details = await asyncio.to_thread(evaluate)
    why = f"{details.reason}, {details.variant or details.error_code}"
    sys.stdout.write(f"[python] {kind} {key}: {details.value!r} ({why})\n")  # `pytest -s` shows it
    return details


def unit(unit_id: str | None = "用户-1", **attributes: Any) -> EvaluationContext:
    """Return the context of a unit."""
    return EvaluationContext(unit_id, attributes)


@pytest.mark.parametrize("kind", VALUES)
async def test_python_every_type(place: Place, kind: str) -> None:
    """Each of OpenFeature's five types arrives as it is, with variant, reason and metadata, and its exposure
    is on Kafka before the answer."""
    key = await place.begin(default=OTHER[kind], value=VALUES[kind])
    details = await ask(place.url, kind, key, OTHER[kind], unit())
    assert details.value == VALUES[kind]
    assert type(details.value) is type(VALUES[kind])
    assert (details.variant, details.reason, details.error_code) == ("on", Reason.SPLIT, None)
    assert details.flag_metadata["in_experiment"] is True
    (exposure,) = await place.exposures(key)
    assert (exposure["unit_id"], exposure["variant"]) == ("用户-1", "on")


async def test_python_targeting_and_errors(place: Place) -> None:
    """Targeting goes by the context; a missing key, flag or type is the SDK's own error and its default."""
    key = await place.begin(
        default="no",
        value="yes",
        targeting={"land": {"$in": ["de"]}},
        breakdowns=[{"attribute": "land", "values": ["de"]}],
    )
    aimed = await ask(place.url, "string", key, "default", unit(land="de", secret="s3"))
    assert (aimed.value, aimed.reason) == ("yes", Reason.SPLIT)
    (exposure,) = await place.exposures(key)
    assert exposure["attributes"] == {"land": "de"}
    other = await ask(place.url, "string", key, "default", unit(land="fr"))
    assert (other.value, other.reason) == ("no", Reason.DEFAULT)
    for kind, name, context, code in (
        ("string", key, unit(None), ErrorCode.TARGETING_KEY_MISSING),
        ("string", "nobody", unit(), ErrorCode.FLAG_NOT_FOUND),
        ("boolean", key, unit(land="de"), ErrorCode.TYPE_MISMATCH),
    ):
        details = await ask(place.url, kind, name, True if kind == "boolean" else "default", context)
        assert (details.error_code, details.reason) == (code, Reason.ERROR)
        assert details.error_message
    assert len(await place.exposures(key)) == 2  # the type was found wrong by the client, after its exposure


async def test_python_rate_limit(settings: AssignmentSettings) -> None:
    """Past its rate a client is told whole seconds, and pauses by itself."""
    limited = settings.model_copy(update={"assignment_rate_per_s": 0.05, "assignment_burst": 1})
    async with served(limited) as place:
        key = await place.begin(default="no", value="yes")
        provider = OFREPProvider(place.url)

        def evaluate() -> list[FlagEvaluationDetails[str]]:
            set_provider(provider, key)
            client = get_client(key)
            return [client.get_string_details(key, "default", unit()) for _ in range(3)]

        first, second, third = await asyncio.to_thread(evaluate)
        provider.session.close()
        assert first.value == "yes"
        assert second.error_message == "Rate limited, retry after: 20"
        assert third.error_message is not None
        assert third.error_message.startswith("OFREP evaluation paused due to TooManyRequests")


async def test_rollback_reaches_remote_evaluation(place: Place) -> None:
    """A change in the same process is served by the next evaluation."""
    key = await place.begin(default="no", value="yes")
    assert (await ask(place.url, "string", key, "default", unit())).value == "yes"
    await place.http.post(f"/v1/experiments/{key}/rollback", json={"by": "ada", "reason": "harm"})
    details = await ask(place.url, "string", key, "default", unit())
    assert (details.value, details.reason, details.flag_metadata["reason"]) == (
        "no", Reason.STATIC, "settled",
    )  # fmt: skip


async def test_rollback_by_another_process_is_in_force_at_once(
    place: Place, settings: AssignmentSettings
) -> None:
    """What another process decides is served here within a quarter of a second."""
    key = await place.begin(default="no", value="yes")
    second = settings.model_copy(update={"assignment_port": free_port(), "telemetry_port": 0})
    async with served(second) as other:
        body = {"by": "ada", "reason": "harm"}
        assert (await other.http.post(f"/v1/experiments/{key}/rollback", json=body)).status_code == 200
        began_ms = CLOCK.monotonic_ms()

        async def off() -> bool:
            answer = await place.http.post(
                f"/ofrep/v1/evaluate/flags/{key}", json={"context": {"targetingKey": "u"}}
            )
            return bool(answer.json()["value"] == "no")

        await until(off)
        took_ms = CLOCK.monotonic_ms() - began_ms
    log.info("rollback of another process in force after %.0f ms", took_ms)
    assert took_ms < 1_000  # 100 ms and a query; the rest is for a machine that is busy


async def test_sticky_units_keep_their_variant(place: Place, settings: AssignmentSettings) -> None:
    """A unit of a sticky experiment is remembered by every process, beyond a restart."""
    key = await place.begin(default="no", value="yes", sticky=True)
    context = {"context": {"targetingKey": "u"}}
    assert (await place.http.post(f"/ofrep/v1/evaluate/flags/{key}", json=context)).json()["value"] == "yes"
    second = settings.model_copy(update={"assignment_port": free_port(), "telemetry_port": 0})
    async with served(second) as other:
        (flag,) = [
            each
            for each in (await other.http.post("/ofrep/v1/evaluate/flags", json=context)).json()["flags"]
            if each["key"] == key
        ]
        assert flag["metadata"]["in_experiment"] is True
        again = await other.http.post(f"/ofrep/v1/evaluate/flags/{key}", json=context)
        assert again.json()["value"] == "yes"
    assert {each["variant"] for each in await place.exposures(key)} == {"on"}


async def test_javascript(place: Place) -> None:
    """The JavaScript SDK gets every type, its targeting, and its own errors."""
    keys = {kind: await place.begin(default=OTHER[kind], value=VALUES[kind]) for kind in VALUES}
    aimed = await place.begin(default="no", value="yes", targeting={"land": "de"})
    context = {"targetingKey": "u-1"}
    types = {"integer": "number", "float": "number"}
    questions = [
        {"key": key, "type": types.get(kind, kind), "default": OTHER[kind], "context": context}
        for kind, key in keys.items()
    ]
    asked = [
        (aimed, context | {"land": "de"}),
        (aimed, context | {"land": "fr"}),
        ("nobody", context),
        (aimed, {}),
    ]
    questions += [
        {"key": key, "type": "string", "default": "default", "context": each} for key, each in asked
    ]
    told = await asyncio.to_thread(run_script, "ofrep_evaluate.mjs", place.url, json.dumps(questions))
    for kind, details in zip(VALUES, told, strict=False):
        assert details["value"] == VALUES[kind]
        assert (details["variant"], details["reason"]) == ("on", "SPLIT")
        assert details["flagMetadata"]["in_experiment"] is True
    german, french, unknown, nameless = told[len(VALUES) :]
    assert (german["value"], french["value"]) == ("yes", "no")
    assert (unknown["value"], unknown["errorCode"]) == ("default", "FLAG_NOT_FOUND")
    assert (nameless["value"], nameless["errorCode"]) == ("default", "TARGETING_KEY_MISSING")
    assert [each["unit_id"] for each in await place.exposures(keys["float"])] == ["u-1"]


async def test_broker_down_serves_control(place: Place, stack: LocalStack) -> None:
    """While Kafka is away the real client gets control and is told why; afterwards its unit takes part."""
    key = await place.begin(default="no", value="yes")
    await asyncio.to_thread(stack.kill_kafka)
    for _ in range(3):
        details = await ask(place.url, "string", key, "default", unit("late"))
        assert (details.value, details.variant, details.reason) == ("no", "off", Reason.DEFAULT)
        assert details.flag_metadata["reason"] == "not_exposed"
    await asyncio.to_thread(stack.wait_ready)

    async def takes_part() -> bool:
        return bool((await ask(place.url, "string", key, "default", unit("back"))).value == "yes")

    await until(takes_part)
    assert "back" in {each["unit_id"] for each in await place.exposures(key)}


async def test_database_down_serves_the_last_rules(place: Place, stack: LocalStack) -> None:
    """While PostgreSQL is away evaluations go on with the last rules; sticky units that are known here keep
    their variant, and none gets a treatment that is not remembered."""
    plain = await place.begin(default="no", value="yes")
    sticky = await place.begin(default="no", value="yes", sticky=True)
    assert (await ask(place.url, "string", sticky, "default", unit("known"))).value == "yes"
    await asyncio.to_thread(stack.kill_postgres)
    try:
        details = await ask(place.url, "string", plain, "default", unit())
        assert (details.value, details.variant) == ("yes", "on")
        assert (await ask(place.url, "string", sticky, "default", unit("known"))).value == "yes"
        details = await ask(place.url, "string", sticky, "default", unit("unknown"))
        # The supervisor is quick: where PostgreSQL is back already, the unit was remembered.
        said = (details.value, details.flag_metadata["reason"])
        assert said in {("no", "not_exposed"), ("yes", "assigned")}
    finally:
        await asyncio.to_thread(stack.wait_ready)

    async def recalled() -> bool:
        return bool((await ask(place.url, "string", sticky, "default", unit("unknown"))).value == "yes")

    await until(recalled)
