"""The page that shows the clients: its programs, run as they are written, on the running service."""

import asyncio
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.homes import CHECKOUT
from services.assignment.config import AssignmentSettings
from tests.clients.javascript.harness import install
from tests.integration.assignment.running import Place, served

PAGE = CHECKOUT / "docs" / "how-to" / "assign-with-any-client.md"
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
CREATION = next(code for language, code in BLOCKS if language == "sh")
PROGRAMS = [
    pytest.param(language, code, id=f"{number} {language}")
    for number, (language, code) in enumerate(BLOCKS)
    if language != "sh"
]
RUN_DEADLINE_S = 60


@pytest.fixture
async def place(settings: AssignmentSettings) -> AsyncIterator[Place]:
    """Return the running service."""
    async with served(settings) as here:
        yield here


def run(language: str, code: str) -> str:
    """Run a program in a process of its own and return the last line that it printed."""
    with tempfile.TemporaryDirectory(dir=install() if language == "js" else None) as folder:
        path = Path(folder) / ("program.mjs" if language == "js" else "program.py")
        path.write_text(code, encoding="utf-8")
        python = Path(sys.executable)
        command = [str(python.with_name("node") if language == "js" else python), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("language", "code"), PROGRAMS)
async def test_a_program_of_the_page_gets_a_variant_and_its_exposure_is_told(
    place: Place, language: str, code: str
) -> None:
    """With the experiment that the page creates, each program prints the variant that the service gives, and
    the exposure is on Kafka, once."""
    name, unit = f"e-{secrets.token_hex(4)}", f"u-{secrets.token_hex(4)}"
    body = CREATION.split("-d '")[1].rsplit("'", 1)[0].replace("buy-button", name)
    created = await place.http.post("/v1/experiments?start=true&by=ann", content=body)
    assert created.status_code == 201, created.text
    own = code.replace("buy-button", name).replace("user-7", unit)
    said = await asyncio.to_thread(run, language, own.replace("http://127.0.0.1:8081", place.url))
    (exposure,) = await place.heard("exposures", unit)
    assert (exposure.variant, exposure.experiment_id) == (said, name)
    answer = (await place.http.get(f"/v1/assignments/{name}", params={"unit_id": unit})).json()
    assert answer["variant"] == said


def test_the_page_has_a_program_for_each_kind_of_client() -> None:
    """One that creates, and programs in Python and JavaScript: a page without would pass the test above."""
    assert [language for language, _ in BLOCKS] == ["sh", "python", "js", "python", "js"]
