"""From the event that completes the evidence against a variant to the rollback in force, at 2,000 events/s.

Several experiments run side by side and go bad one after the other. When the evidence was complete is worked
out from the log afterwards, with the judge's own rule; a rollback is in force when the rules that assignment
gives to clients send a unit that had the harmful variant to control.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import httpx

from benchmarks.log import prepare
from benchmarks.measures.figures import Figure, quantile
from benchmarks.measures.ground import Ground, Site
from benchmarks.measures.harm import FIRST_HARM_MS, NEXT_HARM_MS, Counts, Traffic, definition, proven
from benchmarks.measures.traffic import RATE
from benchmarks.measures.waits import NotMeasured, reach, wait_for
from benchmarks.measures.watching import Seen, watching
from benchmarks.measures.writer import Appended, writer
from benchmarks.world import VARIANTS
from deploy.local.ports import choose_port
from libs.common.clock import Clock
from schemas.experiments import Experiment
from trimtab.evaluation import evaluate
from trimtab.rules import Rules, parse

EXPERIMENTS, FEWEST = 20, 5
AFTER_LAST_S = 12.0
"""Traffic goes on for so long after the last variant became harmful."""
LIMIT_MS = 2_000
POLL_S = 0.02
FIRST_PORT = 8_190


@dataclass(eq=False)
class Rulebook:
    """Reads the rules as a client does, and remembers when each experiment was first seen rolled back."""

    http: httpx.AsyncClient
    clock: Clock
    rules: Rules = field(default_factory=Rules)
    in_force_ms: dict[str, float] = field(default_factory=dict)
    _etag: str = ""

    async def read(self) -> bool:
        """Ask for what is new; return whether there was an answer."""
        try:
            answer = await self.http.get("/v1/rules", headers={"If-None-Match": self._etag})
        except httpx.TransportError:
            return False
        if answer.status_code == httpx.codes.OK:
            self.rules, self._etag = parse(answer.json()), answer.headers["etag"]
        return answer.status_code in (httpx.codes.OK, httpx.codes.NOT_MODIFIED)

    async def watch(self, treated: Mapping[str, str]) -> None:
        """Look again and again, until cancelled, whether these units (by experiment) have lost their
        treatment."""
        while True:
            if await self.read():
                at_ms = self.clock.monotonic_ms()
                for key, unit_id in treated.items():
                    if key not in self.in_force_ms and not self.treats(key, unit_id):
                        self.in_force_ms[key] = at_ms
            await asyncio.sleep(POLL_S)

    def treats(self, key: str, unit_id: str) -> bool:
        """Return whether the unit gets the treatment."""
        return evaluate(self.rules, key, unit_id).variant == VARIANTS[1]


async def measure(ground: Ground) -> list[Figure]:
    """Run ingest, judge and assignment, let variants become harmful, and see how soon they are gone."""
    keys = [f"harmed-{number}" for number in range(max(round(EXPERIMENTS * ground.scale), FEWEST))]
    seconds = (FIRST_HARM_MS + NEXT_HARM_MS * len(keys)) / 1_000 + AFTER_LAST_S
    port = choose_port(FIRST_PORT)
    with ground.stack("rollback") as stack, ExitStack() as running:
        servers = stack.kafka_bootstrap_servers
        await prepare(servers, ())
        site = await Site.make(stack, "rollback", ground.logs)
        for verb in ("ingest", "judge"):
            running.enter_context(site.runs("services.metrics", verb))
        port.release()
        listens = {"ASSIGNMENT_PORT": str(port.number)}
        desk = running.enter_context(site.runs("services.assignment", "http", settings=listens))
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}") as http,
            writer(servers, ground.clock) as out,
            watching(servers, "verdicts", ground.clock) as verdicts,
        ):
            book = Rulebook(http, ground.clock)
            await reach(book.read, desk, what="assignment")
            known = [await _begin(http, key) for key in keys]
            await book.read()
            traffic = Traffic(keys, ground.clock)
            async with _watched(book, {key: _treated(book, key) for key in keys}):
                sent = await out.pace(traffic.ticks(seconds))
                with suppress(NotMeasured):  # what is missing is told in the table
                    await wait_for(lambda: len(book.in_force_ms) == len(keys), desk, what="all", deadline_s=5)
    port.forget()
    return _figures(_cases(known, traffic.counts, sent), book.in_force_ms, verdicts)


async def _begin(http: httpx.AsyncClient, key: str) -> Experiment:
    """Create an experiment and start it."""
    answer = await http.post("/v1/experiments?start=true", content=definition(key).to_json())
    answer.raise_for_status()
    return Experiment.model_validate_json(answer.content)


def _treated(book: Rulebook, key: str) -> str:
    """Return a unit that has the treatment."""
    return next(unit for unit in map("someone-{}".format, count()) if book.treats(key, unit))


@asynccontextmanager
async def _watched(book: Rulebook, treated: Mapping[str, str]) -> AsyncIterator[None]:
    task = asyncio.create_task(book.watch(treated))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _cases(known: Sequence[Experiment], counts: list[Counts], sent: Sequence[Appended]) -> dict[str, float]:
    """Return when the evidence against each experiment's variant was complete, where it ever was."""
    sent_ms = {each.tick: each.sent_ms for each in sent}
    found = {each.experiment_id: proven(each, counts) for each in known}
    return {key: sent_ms[tick] for key, tick in found.items() if tick is not None}


def _figures(
    evident_ms: Mapping[str, float], in_force_ms: Mapping[str, float], verdicts: Sequence[Seen]
) -> list[Figure]:
    advised_ms = {
        each.body["experiment_id"]: each.at_ms for each in verdicts if each.body["kind"] == "roll_back"
    }
    done = [key for key in evident_ms if key in in_force_ms and key in advised_ms]
    missing = len(evident_ms) - len(done)
    if not done:
        return [Figure("evidence to rollback in force", "nothing was rolled back", "", False)]
    whole = [in_force_ms[key] - evident_ms[key] for key in done]
    judging = [advised_ms[key] - evident_ms[key] for key in done]
    p95 = quantile(whole, 0.95)
    return [
        Figure(
            f"harmful variant's evidence to rollback in force, p95 of {len(done)} experiments at "
            f"{RATE:,} events/s" + (f", {missing} never" if missing else ""),
            f"{p95:,.0f} ms (p50 {quantile(whole, 0.5):,.0f}, largest {max(whole):,.0f})",
            f"below {LIMIT_MS:,} ms",
            p95 < LIMIT_MS and not missing,
        ),
        Figure(
            "- until the verdict is published",
            f"p50 {quantile(judging, 0.5):,.0f} ms, p95 {quantile(judging, 0.95):,.0f} ms",
        ),
    ]
