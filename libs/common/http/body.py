"""Bodies that are contracts: read as JSON by pydantic itself, since strict models take an enum from JSON but
not from the Python objects that FastAPI makes of it."""

from typing import Any, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

ModelT = TypeVar("ModelT", bound=BaseModel)


def json_body(model: type[ModelT]) -> Any:
    """Return the dependency that reads the body as `model`; what is wrong with it is answered with 422.

    async def create(definition: Annotated[ExperimentDefinition, json_body(ExperimentDefinition)]) -> ...
    """

    async def read(request: Request) -> ModelT:
        try:
            return model.model_validate_json(await request.body())
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False)) from error

    return Depends(read)
