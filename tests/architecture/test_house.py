"""Names, sizes and habits that keep the house in order."""

import ast
import re
import subprocess

from tests.architecture.tree import ROOT, Source, in_room, sources

FORBIDDEN_NAMES = {"utils.py", "helpers.py", "manager.py", "models.py"}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60

READS_TIME = re.compile(
    r"\btime\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns)\(|"
    r"\bdatetime\.(now|utcnow|today)\(|\bdate\.today\(|\bloop\(\)\.time\(|\bloop\.time\("
)
MAY_READ_TIME = re.compile(r"libs/common/clock\.py|libs/client/src/trimtab/clock\.py|deploy/.*")

TOP_LEVEL = {
    "schemas", "libs", "services", "deploy", "tests", "benchmarks", "docs", "requirements", ".ci",
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile",
    "pyproject.toml", "docker-compose.yml", ".gitignore", ".dockerignore",
}  # fmt: skip


def tracked() -> list[str]:
    """Return the files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return listed or [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")]


def test_the_top_level_is_the_agreed_one() -> None:
    """Nobody adds a folder at the top without the design naming it."""
    assert {path.split("/")[0] for path in tracked()} - TOP_LEVEL == set()


def test_no_file_has_a_name_that_says_nothing() -> None:
    """No utils, helpers, manager or models.py."""
    assert [path for path in tracked() if path.split("/")[-1] in FORBIDDEN_NAMES] == []


def test_files_stay_small() -> None:
    """No source file has over 300 lines."""
    long = {source.path: len(source.text.splitlines()) for source in sources()}
    assert {path: lines for path, lines in long.items() if lines > MAX_FILE_LINES} == {}


def test_functions_stay_small() -> None:
    """No function has over 60 lines."""
    problems = []
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    problems.append(f"{source.path}:{node.lineno}: {node.name} has {lines} lines")
    assert problems == []


def test_only_the_clock_reads_the_time() -> None:
    """Everything else takes a clock, so that a replay can be told the time."""
    problems = [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources()
        if not MAY_READ_TIME.fullmatch(source.path)
        for number, line in enumerate(source.text.splitlines(), 1)
        if READS_TIME.search(line)
    ]
    assert problems == []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None:
        return False  # it cleans up and raises the same error on
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
    return handler.type is None or bool(names & {"Exception", "BaseException"})


def _may_be_broad(source: Source) -> bool:
    return (
        in_room(source, "entrypoints")
        or source.path.startswith(("libs/common/bus/", "libs/common/entrypoints/", "libs/client/", "deploy/"))
        or source.path in ("libs/common/lifecycle.py", "services/metrics/audit/command.py")
    )


def test_no_broad_except_outside_the_edges() -> None:
    """Only entrypoints, the bus, the lifecycle, the client (which must not break its caller) and the audit's
    command (whose exit code says what it found) catch all."""
    problems = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        if not _may_be_broad(source)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    ]
    assert problems == []


def test_every_test_says_its_expectation() -> None:
    """Each test has a docstring."""
    problems = []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            )
            if is_test and not ast.get_docstring(node):  # type: ignore[arg-type]
                problems.append(f"{file.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert problems == []


def test_every_service_has_a_passport() -> None:
    """Each service's package says what it owns, reads, writes and falls back to."""
    for service in ("assignment", "metrics", "drift", "retrainer", "gateway"):
        text = (ROOT / "services" / service / "__init__.py").read_text(encoding="utf-8")
        for word in ("Owns:", "Reads:", "Writes:", "Falls back to:"):
            assert word in text, f"services/{service}/__init__.py does not say {word!r}"
