"""`python -m benchmarks.bare PORT`: a FastAPI endpoint that does nothing, served as the services are."""

import asyncio
import gc
import sys

from fastapi import FastAPI

from libs.common.http.server import serve
from libs.common.lifecycle import Stop

app = FastAPI()


@app.post("/ofrep/v1/evaluate/flags/{key}")
async def evaluate(key: str) -> dict[str, str]:
    """Return a constant."""
    return {"key": "constant", "value": "blue", "variant": "control", "reason": "STATIC"}


def listening(_: int) -> None:
    """Set the garbage collector as the assignment service does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


if __name__ == "__main__":
    asyncio.run(serve(app, "127.0.0.1", int(sys.argv[1]), Stop(), on_listening=listening))
