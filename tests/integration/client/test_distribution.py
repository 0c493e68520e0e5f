"""The client as production services install it: a wheel in a clean environment, without the repository."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.integration.client.server import Server

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "libs" / "client"
MAX_PACKAGES = 8
"""httpx and what it needs, and the client itself."""

USE = """
import importlib.util, json, sys
unwanted = ("schemas", "libs", "services", "deploy", "numpy", "pydantic")
foreign = [name for name in unwanted if importlib.util.find_spec(name)]
import trimtab
from importlib.metadata import distributions
with trimtab.Trimtab(sys.argv[1], sys.argv[1]) as client:
    assignment = client.assign("user-7", "digits", {"country": "DE"})
    client.predict("user-7", model="digits", model_version="1", features={"x": 0.5}, output="3")
    told = client.convert("user-7", "purchase", 19.9)
    client.feedback("user-7", told, model="digits", rating=1.0)
stats = client.stats()
print(json.dumps({
    "file": trimtab.__file__,
    "foreign": foreign,
    "packages": sorted(each.metadata["Name"] for each in distributions()),
    "reason": assignment.reason,
    "accepted": stats.accepted,
    "rejected": stats.rejected,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the client's folder and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    _run([*command, "--wheel-dir", str(folder), str(source)])
    (built,) = folder.glob("trimtab-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment's Python, with the wheel and what it asks for."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, with_pip=False)
    found = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [sys.executable, "-m", "pip", "--python", str(found), "install", "--quiet"]
    _run([*command, "--disable-pip-version-check", str(wheel)])
    return found


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, cwd=cwd, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_is_whole(wheel: Path) -> None:
    """The wheel holds every module, the types' marker and the golden vectors, and asks for httpx alone."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    package = SOURCE / "src" / "trimtab"
    expected = {f"trimtab/{path.name}" for path in package.iterdir() if path.is_file()}
    assert {"trimtab/py.typed", "trimtab/vectors.json"} < expected <= names
    assert {name.split("/")[0] for name in names} == {"trimtab", "trimtab-0.1.0.dist-info"}
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert [line for line in required if "extra ==" not in line] == ["Requires-Dist: httpx>=0.27"]
    assert "# Trimtab's client" in metadata


def test_works_without_the_repository(python: Path, server: Server, tmp_path: Path) -> None:
    """In a clean environment it assigns and tells, with few packages and nothing of the repository."""
    said = json.loads(_run([str(python), "-W", "error", "-c", USE, server.url], cwd=tmp_path))
    assert (said["reason"], said["accepted"], said["rejected"]) == ("assigned", 4, 0)
    assert said["foreign"] == []
    assert not Path(said["file"]).is_relative_to(ROOT)
    assert len(said["packages"]) <= MAX_PACKAGES, said["packages"]
    assert sorted(event["type"] for event in server.events) == [
        "conversion",
        "exposure",
        "feedback",
        "prediction",
    ]


def test_openfeature_is_asked_for_only_where_it_is_used(python: Path, tmp_path: Path) -> None:
    """Without the extra, the client imports; its provider says which package is missing."""
    attempt = "try: import trimtab.openfeature\nexcept ModuleNotFoundError as error: print(error.name)"
    assert _run([str(python), "-c", f"import trimtab\n{attempt}"], cwd=tmp_path).strip() == "openfeature"


def test_types_travel_with_it(python: Path, tmp_path: Path) -> None:
    """A user's type checker reads the installed package's types, strictly."""
    user = tmp_path / "user.py"
    user.write_text(
        "from trimtab import Assignment, Trimtab\n"
        "client = Trimtab('http://gateway', 'http://assignment', max_queue=10)\n"
        "assignment: Assignment = client.assign('user-7', 'digits', {'country': 'DE'}, expose=False)\n"
        "version: str | None = assignment.model_version\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--config-file="]
    assert "Success" in _run([*command, "--cache-dir", str(tmp_path / "cache"), str(user)], cwd=tmp_path)
