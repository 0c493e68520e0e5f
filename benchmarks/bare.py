"""`python -m benchmarks.bare PORT`: a FastAPI endpoint that does nothing, served as the services are."""

import asyncio
import sys

from fastapi import FastAPI

from libs.common.http.server import serve
from libs.common.lifecycle import Stop

app = FastAPI()


@app.post("/ofrep/v1/evaluate/flags/{key}")
async def evaluate(key: str) -> dict[str, str]:
    """Return a constant."""
    return {"key": "constant", "value": "blue", "variant": "control", "reason": "STATIC"}


if __name__ == "__main__":
    asyncio.run(serve(app, "127.0.0.1", int(sys.argv[1]), Stop()))
