"""Kafka's jars: a pinned list, fetched once by a Maven resolver, every one checked against its SHA-256."""

import hashlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError

LIST = Path(__file__).with_name("kafka_jars.txt")
THREADS = 8
TRIES, TIMEOUT_S = 3, 30
OFFLINE_HINT = (
    "Check the network, or name a folder that holds Kafka's jars (KAFKA_JARS),\n"
    "an installed Kafka (KAFKA_HOME), or a running one (KAFKA_BOOTSTRAP_SERVERS)."
)

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes in all, from several threads, one at a time."""


@dataclass(frozen=True)
class Jar:
    """One line of the list."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """The name of the file in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def pinned(text: str) -> list[Jar]:
    """The list as `kafka_jars.txt` has it; ValueError shows a line that is not coordinates, SHA-256, size."""
    jars = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        try:
            coordinates, sha256, size = line.split()
            group, artifact, version = coordinates.split(":")
        except ValueError:
            raise ValueError(f"not group:artifact:version SHA-256 size: {line!r}") from None
        if len(sha256) != 64:
            raise ValueError(f"not a SHA-256: {sha256!r}")
        jars.append(Jar(group, artifact, version, sha256, int(size)))
    return jars


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(jar: Jar, path: Path) -> Path:
    """The path, when the file is what the list says; otherwise deletes it and raises StackError."""
    found = sha256_of(path)
    if found != jar.sha256:
        path.unlink()
        raise StackError(
            f"{jar.file_name} is not the file we know and was deleted: its SHA-256 is\n"
            f"{found}, expected\n{jar.sha256}.",
            "Run the command again; if that does not help, something on the way here alters files.",
        )
    return path


def missing(jars: Iterable[Jar], cache: Path) -> list[Jar]:
    """The jars that are not in the cache, after deleting those there that are not what the list says."""
    absent = []
    for jar in jars:
        path = cache / jar.file_name
        if path.exists() and sha256_of(path) != jar.sha256:
            path.unlink()
        if not path.exists():
            absent.append(jar)
    return absent


def ensure_jars(cache: Path, progress: Progress | None = None) -> list[Path]:
    """The checked jars in the cache, fetched where absent; StackError when that is not possible."""
    jars = pinned(LIST.read_text())
    absent = missing(jars, cache)
    if absent:
        needed = sum(jar.size_bytes for jar in absent)
        if shutil.disk_usage(cache).free < 3 * needed:
            raise StackError(f"Not enough disk space for {needed >> 20} MB of Kafka's jars in {cache}.")
        _fetch_all(absent, cache, _Counter(needed, progress))
    return [cache / jar.file_name for jar in jars]


class _Counter:
    """Sums what eight threads have received."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress, self._done, self._lock = total, progress, 0, threading.Lock()

    @contextmanager
    def of_file(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield self._add

    def _add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(min(self._done, self._total), self._total)


def _fetch_all(jars: list[Jar], cache: Path, counter: _Counter) -> None:
    # Fetched into a folder of its own and moved when checked: an interrupted download leaves nothing behind
    # that looks whole, and two stacks of one user may fetch at the same time.
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as staging,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        fetched = [pool.submit(_fetch, jar, Path(staging), cache, counter) for jar in jars]
        try:
            for one in as_completed(fetched):
                one.result()
        except StackError:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _fetch(jar: Jar, staging: Path, cache: Path, counter: _Counter) -> None:
    try:
        import requests
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise StackError(
            f"The package {error.name} is not installed; it fetches Kafka's jars.",
            "Install the extra: pip install 'trimtab-platform[embedded]' (or run make install).",
        ) from error
    logging.getLogger("jgo").setLevel(logging.ERROR)
    problem: Exception | None = None
    for attempt in range(TRIES):
        folder = staging / f"{jar.artifact}-{attempt}"
        resolver = PythonResolver(progress_callback=counter.of_file)
        maven = MavenContext(repo_cache=folder, timeout=TIMEOUT_S, resolver=resolver)
        try:
            path = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            problem = error
            continue
        checked(jar, path).replace(cache / jar.file_name)
        return
    raise StackError(
        f"Could not fetch {jar.group}:{jar.artifact}:{jar.version}: {problem}", OFFLINE_HINT
    ) from problem
