"""The service on a store and a bus in memory, asked as remote clients ask it."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from libs.common.bus.memory import MemoryBus
from schemas.experiments import Policy, Variant
from services.assignment.adapters.sticky_memory import MemorySticky
from services.assignment.entrypoints.http import Api, build
from services.assignment.handlers.create import create
from services.assignment.ports import Desk
from tests.unit.assignment.make import definition

FLAGS = "/ofrep/v1/evaluate/flags"
ALL_IN: dict[str, Any] = {"policy": Policy(ramp=()), "coverage": 1.0}


@dataclass
class Service:
    """The service in this process."""

    http: httpx.AsyncClient
    desk: Desk
    bus: MemoryBus
    sticky: MemorySticky
    api: Api

    async def begin(self, experiment_id: str = "checkout", **fields: Any) -> None:
        """Start an experiment that covers everybody, and let the service see it."""
        await create(self.desk, definition(experiment_id, **(ALL_IN | fields)), by="ada", start=True)
        await self.api.rules.refresh()

    async def ask(self, key: str, unit_id: str = "u", **attributes: Any) -> httpx.Response:
        """Evaluate one flag."""
        return await self.http.post(
            f"{FLAGS}/{key}", json={"context": {"targetingKey": unit_id, **attributes}}
        )

    async def ask_all(self, etag: str = "", **context: Any) -> httpx.Response:
        """Evaluate all flags."""
        body = {"context": {"targetingKey": "u"} | context}
        return await self.http.post(FLAGS, json=body, headers={"if-none-match": etag} if etag else {})

    def exposures(self) -> list[dict[str, Any]]:
        """Return the exposures on the bus."""
        return [json.loads(each.value or b"") for each in self.bus.records("exposures")]


def serving(api: Api) -> httpx.AsyncClient:
    """Return a client of an API; the service's failures are answers, as they are over a network."""
    transport = httpx.ASGITransport(
        build(api, max_body_bytes=10_000), raise_app_exceptions=False, client=("10.0.0.1", 1)
    )
    return httpx.AsyncClient(transport=transport, base_url="http://assignment")


def payloads(*values: Any) -> dict[str, Any]:
    """Return variants with these payloads, the first of them control's, with the last for everybody."""
    variants = [Variant(key=f"v{n}", payload=value, weight=0.0) for n, value in enumerate(values)]
    variants[-1] = variants[-1].model_copy(update={"weight": 1.0})
    return {"variants": tuple(variants), "control": "v0"}
