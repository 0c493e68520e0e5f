"""From an error to an answer: `{"error": {"type", "message", "field", "next_step"}}`, never a stack trace."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from libs.common.errors import Conflict, NotFound, Refused, Retryable, TrimtabError

RETRY_AFTER_S = 1
TOO_LARGE = 413
MAX_FIELD_CHARS = 200
MAX_MESSAGE_CHARS = 1_000

_PLACES = frozenset({"body", "query", "path", "header", "cookie"})
# What pydantic appends to a place for each kind that a value may have.
_KINDS = frozenset({"str", "constrained-str", "int", "constrained-int", "float", "constrained-float", "bool"})
_NAMED_PROBLEM = re.compile(r"([a-z_][a-z0-9_.]*): (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """What the caller is told. `field` is a dotted path, "" for the whole."""

    type: str
    message: str
    field: str = ""
    next_step: str = ""


def error_answer(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer that every error has."""
    error = {
        "type": problem.type,
        "message": problem.message[:MAX_MESSAGE_CHARS],
        "field": problem.field[:MAX_FIELD_CHARS],
        "next_step": problem.next_step,
    }
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def first_problem(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the dotted path of the first field that pydantic names, and what is wrong with it.

    A `type` that does not fit comes first: it explains the missing fields. A rule of a whole object whose
    message starts with a field's name (`control: ...`) is counted as that field's.
    """
    error = next((each for each in errors if each["loc"][-1:] == ("type",)), errors[0])
    place = list(error["loc"])
    if place and place[0] in _PLACES:
        del place[0]
    if error["type"] == "json_invalid":
        return "", f"the body is not JSON: {error.get('ctx', {}).get('error', error['msg'])}"
    if len(place) > 1 and place[-1] in _KINDS:
        del place[-1]
    message = str(error["msg"]).removeprefix("Value error, ")
    named = _NAMED_PROBLEM.fullmatch(message) if error["type"] == "value_error" else None
    if named:
        place.append(named[1])
        message = named[2]
    return ".".join(str(part) for part in place), message


def map_errors(app: FastAPI) -> None:
    """Answer every error of `app` in the one shape."""
    app.exception_handler(TrimtabError)(_on_trimtab_error)
    app.exception_handler(RequestValidationError)(_on_invalid)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(Exception)(_on_defect)


async def _on_trimtab_error(_: Request, error: TrimtabError) -> JSONResponse:
    match error:
        case NotFound():
            return error_answer(404, _problem("not_found", error, error.field))
        case Refused():
            return error_answer(422, _problem("refused", error, error.field))
        case Conflict():
            return error_answer(409, _problem("conflict", error))
        case Retryable():
            return error_answer(503, _problem("unavailable", error), {"Retry-After": str(RETRY_AFTER_S)})
    # Misconfigured, Poison: ours to mend, and what it says may be none of the caller's business.
    raise error


def _problem(kind: str, error: TrimtabError, field: str = "") -> Problem:
    return Problem(kind, error.message, field, error.next_step)


async def _on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    field, message = first_problem(error.errors())
    return error_answer(422, Problem("invalid", message, field))


async def _on_http_exception(_: Request, error: HTTPException) -> JSONResponse:
    known = error.status_code in {each.value for each in HTTPStatus}
    kind = HTTPStatus(error.status_code).name.lower() if known else "http_error"
    if error.status_code == TOO_LARGE:
        kind = "too_large"  # what the standard library calls it changes with the version of Python
    return error_answer(error.status_code, Problem(kind, str(error.detail)), error.headers)


async def _on_defect(_: Request, __: Exception) -> JSONResponse:
    # Starlette raises the error again after the answer, and the server logs it with its stack trace.
    problem = Problem("internal", "the service failed at this request", "", "see the log of the service")
    return error_answer(500, problem)
