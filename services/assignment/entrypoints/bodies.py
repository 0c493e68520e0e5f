"""Request bodies that are contracts: read by the same strict rules as records on the bus."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from schemas.event import Contract

NO_NUL = r"^[^\x00]*$"
"""Texts that PostgreSQL can keep."""

ContractT = TypeVar("ContractT", bound=Contract)


def body_of(kind: type[ContractT]) -> Callable[[Request], Awaitable[ContractT]]:
    """Return a FastAPI dependency that reads the body as `kind`; what does not fit is 422 as always.

    FastAPI's own reading goes through Python objects, where strict contracts know no JSON enums.
    """

    async def read(request: Request) -> ContractT:
        try:
            return kind.model_validate_json(await request.body())
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False)) from error

    return read
