"""OFREP 0.3.0: what every OpenFeature SDK with a remote provider asks.

    POST /ofrep/v1/evaluate/flags/{key}   one flag; the exposure is acknowledged before the answer
    POST /ofrep/v1/evaluate/flags         all flags, nothing exposed; ETag and 304

A plain ASGI application: this is the hottest path of the service.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from libs.common.errors import Retryable
from libs.common.http.door import Answer, BodyTooLarge, Gone, Route, read_body
from libs.common.http.rates import RateLimit
from schemas.names import MAX_ID_CHARS
from services.assignment.domain.ofrep import (
    FLAG_NOT_FOUND,
    GENERAL,
    INVALID_CONTEXT,
    PARSE_ERROR,
    TARGETING_KEY_MISSING,
    failure,
    is_flag,
    success,
)
from services.assignment.handlers.evaluate import Means, Question, assign, evaluate_all, recall_all
from services.assignment.handlers.read_rules import RuleSet, RulesReader
from services.assignment.ports import Given
from trimtab.assignments import Assignment

log = logging.getLogger(__name__)

PREFIX: Final = "/ofrep/"
BULK: Final = "/ofrep/v1/evaluate/flags"
ONE: Final = "/ofrep/v1/evaluate/flags/"
KEYS_AT_ONCE: Final = 100
"""Flags of a bulk evaluation between two looks at other requests."""

_BULK_ROUTE = Route(BULK)
_ONE_ROUTE = Route(ONE + "{key}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_decode = msgspec.json.Decoder().decode


class Refusal(Exception):
    """A request that is answered with an error of the protocol."""

    def __init__(self, status: int, code: str, details: str) -> None:
        super().__init__(details)
        self.status = status
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Ofrep:
    """The application."""

    means: Means
    rules: RulesReader
    limit: RateLimit
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every error in the protocol's shape."""
        path: str = scope["path"]
        key = path[len(ONE) :] if path.startswith(ONE) else None
        scope["route"] = _BULK_ROUTE if key is None else _ONE_ROUTE
        try:
            answer = await self._answer(scope, receive, key)
        except Refusal as error:
            answer = Answer(error.status, failure(error.code, error.details, key=key))
        except BodyTooLarge as error:
            answer = Answer(413, failure(GENERAL, str(error), key=key), ((b"connection", b"close"),))
        except Retryable as error:
            # 500, which the protocol and its clients know; they do not know 503.
            answer = Answer(500, failure(GENERAL, error.message, key=key), ((b"retry-after", b"1"),))
        except Gone:
            return
        except Exception:
            problem = "the service failed at this request: see its log"
            await Answer(500, failure(GENERAL, problem, key=key)).send(send)
            raise  # the server logs it
        await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive, key: str | None) -> Answer:
        if key is None and scope["path"] != BULK:
            raise Refusal(404, GENERAL, f"there is nothing here; POST to {ONE}<key> or to {BULK}")
        if scope["method"] != "POST":
            return Answer(405, failure(GENERAL, "use POST", key=key), ((b"allow", b"POST"),))
        wait_s = self.limit.wait_s(caller_of(scope))
        if wait_s:
            body = failure(GENERAL, f"too many requests: ask again in {wait_s} s", key=key)
            return Answer(429, body, ((b"retry-after", str(wait_s).encode()),))
        body = await read_body(receive, max_bytes=self.max_body_bytes)
        rules = await self.rules.latest()
        if key is None:
            return await self._all(rules, body, scope)
        return await self._one(rules, key, body)

    async def _one(self, rules: RuleSet, key: str, body: bytes) -> Answer:
        context = _context(body)
        assignment = await assign(self.means, rules.rules, Question(key, _unit_id(context), context))
        if not is_flag(assignment):
            where = "no `/` belongs in a key" if "/" in key else "GET /v1/rules lists those there are"
            raise Refusal(404, FLAG_NOT_FOUND, f"neither an experiment nor a model has this key; {where}")
        return Answer(200, _encoded(rules, assignment, exposed=assignment.in_experiment))

    async def _all(self, rules: RuleSet, body: bytes, scope: Scope) -> Answer:
        context = _context(body)
        question = Question("", _unit_id(context), context)
        given = await recall_all(self.means, rules.rules, question.unit_id)
        etag = _etag(rules, body, given)
        headers = ((b"etag", etag.encode()), (b"cache-control", b"no-cache"))
        if etag in _tags(scope):
            return Answer(304, b"", headers)
        flags = await _evaluated(rules, question, given)
        return Answer(200, b'{"flags":[' + b",".join(flags) + b"]}", headers)


def caller_of(scope: Scope) -> str:
    """Return whose rate a request counts for: the address that it comes from."""
    client = scope.get("client")
    return client[0] if client else ""


async def _evaluated(rules: RuleSet, question: Question, given: Mapping[str, Given] | None) -> list[bytes]:
    keys = [*rules.rules.experiments, *rules.rules.models]
    found: list[bytes] = []
    for start in range(0, len(keys), KEYS_AT_ONCE):
        assignments = evaluate_all(rules.rules, keys[start : start + KEYS_AT_ONCE], question, given)
        found += [_encoded(rules, each, exposed=False) for each in assignments]
        await asyncio.sleep(0)  # other requests have their turn
    return found


def _encoded(rules: RuleSet, assignment: Assignment, *, exposed: bool) -> bytes:
    place = (assignment.key, assignment.variant, assignment.reason, exposed)
    body = rules.answers.get(place)
    if body is None:
        body = rules.answers[place] = success(assignment, exposed=exposed)
    return body


def _context(body: bytes) -> dict[str, Any]:
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, PARSE_ERROR, f"the body is not JSON: {error}"[:200]) from error
    if not isinstance(document, dict):
        raise Refusal(400, INVALID_CONTEXT, 'the body must be an object: {"context": {"targetingKey": ...}}')
    context = document.get("context")
    if context is None:
        raise Refusal(400, TARGETING_KEY_MISSING, "send a context with a targetingKey: the unit's id")
    if not isinstance(context, dict):
        raise Refusal(400, INVALID_CONTEXT, "context must be an object")
    return context


def _unit_id(context: dict[str, Any]) -> str:
    unit_id = context.get("targetingKey")
    if unit_id is None or unit_id == "":
        raise Refusal(400, TARGETING_KEY_MISSING, "the context has no targetingKey: the unit's id")
    if not isinstance(unit_id, str):
        raise Refusal(400, INVALID_CONTEXT, "targetingKey must be a string")
    if len(unit_id) > MAX_ID_CHARS or _CONTROL.search(unit_id):
        raise Refusal(
            400, INVALID_CONTEXT, f"targetingKey: at most {MAX_ID_CHARS} characters, none of them control"
        )
    return unit_id


def _etag(rules: RuleSet, body: bytes, given: Mapping[str, Given] | None) -> str:
    """Return a tag of all that the answer depends on: the rules, the context, and what is remembered."""
    known = "away" if given is None else repr(sorted(given.items()))
    digest = hashlib.sha256(body + b"\0" + known.encode()).hexdigest()
    return f'{rules.etag[:-1]}-{digest[:16]}"'


def _tags(scope: Scope) -> list[str]:
    given = b",".join(value for name, value in scope["headers"] if name == b"if-none-match").decode("latin-1")
    return [each.strip().removeprefix("W/") for each in given.split(",")]
