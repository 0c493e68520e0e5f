"""OFREP, as its clients meet it."""

from typing import Any

import pytest
from openfeature.flag_evaluation import Reason

from schemas.experiments import Breakdown, ExperimentKind
from services.assignment.domain.change import Order
from services.assignment.domain.ofrep import REASONS
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.pause import pause
from tests.unit.assignment.make import model_state
from tests.unit.assignment.remote import FLAGS, Service, payloads
from trimtab.flag_words import REASONS as PROVIDERS_REASONS


async def test_single_evaluation_is_exposed_first(service: Service) -> None:
    """One flag has every field that clients want, and its exposure is on the bus, with the attributes that
    the experiment declares and no others."""
    await service.begin(
        breakdowns=(Breakdown(attribute="land", values=("de",)),), **payloads("blue", "green")
    )
    answer = await service.ask("checkout", "用户", land="de", secret="s3")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "key": "checkout",
        "value": "green",
        "variant": "v1",
        "reason": "SPLIT",
        "metadata": {
            "reason": "assigned",
            "in_experiment": True,
            "experiment_id": "checkout",
            "revision": 2,
            "exposed": True,
            "attributes": '["land"]',
        },
    }
    (exposure,) = service.exposures()
    assert (exposure["unit_id"], exposure["variant"], exposure["revision"]) == ("用户", "v1", 2)
    assert exposure["attributes"] == {"land": "de"}


async def test_attributes_that_no_event_can_carry_are_left_out(service: Service) -> None:
    """A list, null, a long text or a huge number does not stop the exposure; it goes without them."""
    names = ("a", "b", "c", "d", "e")
    await service.begin(breakdowns=tuple(Breakdown(attribute=each, values=("x",)) for each in names))
    await service.ask("checkout", a=[1], b=None, c="x" * 257, d=10**30, e=False)
    assert service.exposures()[0]["attributes"] == {"e": False}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ("héllo", '"h\\u00e9llo"'),
        (3, "3"),
        (1.0, "1.0"),
        (1e300, "1e+300"),
        (10**30, str(10**30)),
        ({"a": [1.0, 2, None]}, '{"a":[1.0,2,null]}'),
        ([1.0], "[1.0]"),
    ],
)
async def test_values_keep_their_type(service: Service, value: Any, text: str) -> None:
    """A payload travels as it was written: 1.0 is not 1."""
    await service.begin(**payloads(value, value))
    assert f'"value":{text},' in (await service.ask("checkout")).text
    assert f'"value":{text},' in (await service.ask_all()).text


async def test_model_names_are_flags(service: Service) -> None:
    """A model's name gives its champion's version, unexposed; without a champion the code's default holds."""
    await follow_model(service.desk, model_state(1))
    await follow_model(service.desk, model_state(1, champion=None, model="orphan"))
    await service.api.rules.refresh()
    answer = (await service.ask("digits")).json()
    assert (answer["value"], answer["variant"], answer["reason"]) == ("1", "champion", "STATIC")
    orphan = (await service.ask("orphan")).json()
    assert "value" not in orphan
    assert (orphan["variant"], orphan["reason"]) == ("", "DEFAULT")
    assert service.exposures() == []


def test_every_reason_is_one_of_openfeatures() -> None:
    """Each of our reasons has a word that OpenFeature lists: the one that our own provider uses."""
    assert dict(REASONS) == {ours: theirs.value for ours, theirs in PROVIDERS_REASONS.items()}
    assert set(REASONS.values()) <= {each.name for each in Reason}


async def test_reasons(service: Service) -> None:
    """Who is targeted, forced, paused or outside is told so, in both words."""
    await service.begin("aimed", targeting={"land": "de"})
    await service.begin("set", forced=[{"unit_id": "u", "variant": "treatment"}])
    await service.begin("flag", kind=ExperimentKind.FLAG)
    await service.begin("tiny", coverage=0.0)
    await service.begin("paused")
    await pause(service.desk, Order("paused", "ada", "because"))
    await service.api.rules.refresh()
    found = {}
    for key in ("aimed", "set", "flag", "tiny", "paused"):
        answer = (await service.ask(key, land="fr")).json()
        found[key] = (answer["reason"], answer["metadata"]["reason"])
    assert found == {
        "aimed": ("DEFAULT", "not_targeted"),
        "set": ("TARGETING_MATCH", "forced"),
        "flag": ("SPLIT", "flag"),
        "tiny": ("DEFAULT", "outside"),
        "paused": ("DISABLED", "paused"),
    }
    assert (await service.ask("aimed", land="de")).json()["metadata"]["reason"] == "assigned"
    assert len(service.exposures()) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "PARSE_ERROR"),
        (b"{", 400, "PARSE_ERROR"),
        (b'"\xff"', 400, "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"\\ud800"}}', 400, "PARSE_ERROR"),
        (b"[" * 9_999, 400, "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"u","x":NaN}}', 400, "PARSE_ERROR"),
        (b"[]", 400, "INVALID_CONTEXT"),
        (b'{"context":[]}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":7}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"a\\nb"}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"' + b"x" * 257 + b'"}}', 400, "INVALID_CONTEXT"),
        (b"{}", 400, "TARGETING_KEY_MISSING"),
        (b'{"context":null}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{}}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":""}}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":null}}', 400, "TARGETING_KEY_MISSING"),
        (b" " * 10_001, 413, "GENERAL"),
    ],
)
async def test_bad_requests_are_told_in_the_protocols_words(
    service: Service, body: bytes, status: int, code: str
) -> None:
    """Whatever is wrong, the answer has the code and the details that clients look for; never a 422."""
    await service.begin()
    for path in ("/checkout", ""):
        answer = await service.http.post(FLAGS + path, content=body)
        assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
        assert answer.json()["errorDetails"]
        assert answer.json().get("key") == (path[1:] or None)
    assert service.exposures() == []


@pytest.mark.parametrize("key", ["nobody", "a%2Fb", "a/b", "", "ü"])
async def test_unknown_key(service: Service, key: str) -> None:
    """A key that nobody has is 404 FLAG_NOT_FOUND, whatever stands in it."""
    answer = await service.http.post(f"{FLAGS}/{key}", json={"context": {"targetingKey": "u"}})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert isinstance(answer.json()["key"], str)


async def test_other_paths_and_methods(service: Service) -> None:
    """What is not there is 404, and a wrong method 405, as JSON too."""
    assert (await service.http.get("/ofrep/v1/configuration")).status_code == 404
    answer = await service.http.get(f"{FLAGS}/checkout")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
