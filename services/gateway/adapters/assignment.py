"""Assignment over HTTP."""

from collections.abc import Mapping

import httpx

from libs.common.errors import Retryable
from services.gateway.ports import Answer

_PASSED_ON = ("etag", "retry-after", "content-type")


class HttpAssignment:
    """Passes requests on to the assignment service; one connection pool."""

    def __init__(self, base_url: str, *, timeout_ms: int) -> None:
        self._base_url = base_url
        self._client = httpx.AsyncClient(base_url=base_url, timeout=timeout_ms / 1_000)

    async def forward(
        self, method: str, path: str, *, query: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Pass a request on and return the answer as it is. Raises Retryable when nobody answers."""
        headers = {"content-type": "application/json"} if body else {}
        try:
            response = await self._client.request(
                method, path, params=dict(query), content=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise Retryable(
                f"assignment does not answer at {self._base_url}: {type(error).__name__}",
                next_step="is the assignment service up, and ASSIGNMENT_URL right?",
            ) from error
        kept = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
        return Answer(response.status_code, response.content, kept)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
