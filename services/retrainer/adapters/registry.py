"""MLflow's model registry over its REST interface: what the worker needs, without importing MLflow."""

import httpx

from libs.common.errors import NotFound, Retryable

_GONE = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"})
_ALIAS = "/api/2.0/mlflow/registered-models/alias"


class HttpRegistry:
    """Speaks to one MLflow server. Close it at the end."""

    def __init__(self, tracking_uri: str, *, timeout_ms: int) -> None:
        self._client = httpx.AsyncClient(base_url=tracking_uri, timeout=timeout_ms / 1_000)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def exists(self, model: str, version: str) -> bool:
        """Return True when this version is registered. Raises Retryable when the registry is away."""
        try:
            await self._call("GET", "/api/2.0/mlflow/model-versions/get", {"name": model, "version": version})
        except NotFound:
            return False
        return True

    async def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Let the alias name this version; None removes it. Raises Retryable when the registry is away,
        NotFound when there is no such version."""
        if version is not None:
            await self._call("POST", _ALIAS, {"name": model, "alias": alias, "version": version})
            return
        try:
            await self._call("DELETE", _ALIAS, {"name": model, "alias": alias})
        except NotFound:
            return  # nothing bears a name in a model that is not there

    async def _call(self, method: str, path: str, arguments: dict[str, str]) -> None:
        try:
            if method == "GET":
                response = await self._client.get(path, params=arguments)
            else:
                response = await self._client.request(method, path, json=arguments)
        except httpx.TransportError as error:
            raise Retryable(f"MLflow does not answer: {error or type(error).__name__}") from error
        if response.is_success:
            return
        code, message = _said(response)
        if code in _GONE:
            raise NotFound(f"MLflow: {message}")
        # A wrong password is corrected by a person, after which the same call succeeds.
        raise Retryable(f"MLflow answers {response.status_code}: {message}")


def _said(response: httpx.Response) -> tuple[str, str]:
    try:
        body = response.json()
    except ValueError:
        return "", response.text[:200]
    return str(body.get("error_code", "")), str(body.get("message", ""))[:200]
