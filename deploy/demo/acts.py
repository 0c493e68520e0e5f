"""The three acts: what is done, and what must follow from it by itself."""

import json
import subprocess
import sys
import time

from deploy.demo import words
from deploy.demo.api import ActFailed, Json
from deploy.demo.ledger import CONVERSION
from deploy.demo.offline import MODEL
from deploy.demo.screen import Screen
from deploy.demo.watch import (
    Stage,
    drifted,
    health_in,
    register,
    wait_champion,
    wait_experiment,
    wait_last_served,
    wait_next_stage,
    wait_retrained,
)

ENDED = ("promoted", "rolled_back", "stopped")

TRIAL_TEMPLATE: Json = {
    "metrics": [
        {
            "name": "accepted",
            "conversion": CONVERSION,
            "kind": "proportion",
            "role": "guardrail",
            "margin": 0.1,
        }
    ],
    "policy": {
        "tuned_units": 1_000,
        "ramp": [
            {"share": 0.10, "min_duration_ms": 8_000, "min_units": 100, "requires": "stable"},
            {"share": 0.25, "min_duration_ms": 6_000, "min_units": 100, "requires": "positive"},
            {"share": 0.50, "min_duration_ms": 6_000, "min_units": 100, "requires": "positive"},
        ],
    },
    "by": "demo",
    "reason": "demo-length stages; in production they last days",
}


def offline(screen: Screen) -> dict[str, str]:
    """Train two versions and register them in MLflow, as somebody did before production."""
    screen.say("training two versions offline and registering them in MLflow ...")
    started_s = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.demo.offline"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if ended.returncode != 0:
        raise ActFailed(f"the offline training failed:\n{ended.stderr[-2000:]}")
    versions: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    screen.say(f"registered versions {', '.join(versions.values())} in {time.monotonic() - started_s:.1f} s")
    return versions


def act_a(stage: Stage, versions: dict[str, str]) -> None:
    """A good champion runs; a bad challenger gets 10 % and is rolled back by evidence."""
    api, screen = stage.api, stage.screen
    screen.announce(
        "a",
        "a bad challenger is rolled back",
        f"Version {versions['champion']} reads digits well and is champion. Version {versions['challenger']}"
        " was trained on transposed images by mistake; nobody noticed. It gets 10 % of the traffic. Its users"
        " accept fewer readings; an always-valid interval says so; all traffic goes back.",
    )
    api.send("PUT", f"/v1/models/{MODEL}/trial-template", TRIAL_TEMPLATE)
    register(api, versions["champion"], "champion")
    wait_champion(stage, versions["champion"])
    stage.traffic.start()
    screen.record(f"version {versions['champion']} is champion, traffic runs")
    health = api.wait(
        "the champion to be called healthy",
        lambda: health_in(api, versions["champion"], ("healthy",)),
        deadline_s=90,
    )
    screen.record("champion is healthy", evidence=words.performance(health))
    register(api, versions["challenger"], "challenger")
    experiment_id = f"{MODEL}-v{versions['challenger']}"
    stage.experiments.append(experiment_id)
    wait_experiment(stage, experiment_id, ("running", "rolled_back"), deadline_s=60)
    began_s = time.monotonic()
    screen.record(f"challenger {versions['challenger']} gets 10 % of the traffic ({experiment_id})")
    found = wait_experiment(stage, experiment_id, ("rolled_back",), deadline_s=120)
    took_s = time.monotonic() - began_s
    screen.record("rolled back", evidence=words.evidence(found, "roll_back"), took_s=took_s)
    wait_last_served(stage, versions["challenger"], found["experiment"]["ended_at_ms"])


def act_b(stage: Stage, champion: str) -> str:
    """The sensor breaks: drift is seen, the model degrades, a new version is trained. Returns its number."""
    api, screen = stage.api, stage.screen
    screen.announce(
        "b",
        "the world changes, and a new version is trained",
        "From now on every image comes from a broken sensor: the brightness of its left half is reversed and"
        " one row is dead. The inputs drift, the labels show that the champion errs, and the retrainer trains"
        " on labelled production examples, validates against the champion and registers a version.",
    )
    stage.traffic.fault = True
    began_s = time.monotonic()
    screen.record("sensor fault on all images")
    health = api.wait("drift to be seen", lambda: drifted(api, champion), deadline_s=120)
    screen.record(
        "drift seen",
        evidence=words.drift(health),
        took_s=time.monotonic() - began_s,
    )
    health = api.wait(
        "the model to be called degraded", lambda: health_in(api, champion, ("degraded",)), deadline_s=120
    )
    screen.record("model degraded", evidence=words.performance(health), took_s=time.monotonic() - began_s)
    version, retraining = wait_retrained(stage)
    screen.record(
        f"version {version} trained and registered",
        evidence=words.validation(retraining),
        took_s=time.monotonic() - began_s,
    )
    return version


def act_c(stage: Stage, version: str) -> None:
    """The new version is tried at 10 %, ramps on evidence, and is promoted."""
    api, screen = stage.api, stage.screen
    screen.announce(
        "c",
        "the new version earns its place",
        f"Version {version} is tried at 10 %. Each stage asks for time, units and evidence; then 25 %, 50 %,"
        " and it is promoted to champion.",
    )
    experiment_id = f"{MODEL}-v{version}"
    stage.experiments.append(experiment_id)
    began_s = time.monotonic()
    found = wait_experiment(stage, experiment_id, ("running", *ENDED), deadline_s=60)
    while found["experiment"]["state"] == "running":
        experiment = found["experiment"]
        screen.record(
            f"version {version} gets {experiment['policy']['ramp'][experiment['stage']]['share']:.0%}",
            evidence=words.evidence(found, "advance") if experiment["stage"] else "",
            took_s=time.monotonic() - began_s,
        )
        found = wait_next_stage(stage, experiment_id, experiment["stage"])
    if found["experiment"]["state"] != "promoted":
        raise ActFailed(f"{experiment_id} is {found['experiment']['state']}: {found['experiment']['reason']}")
    screen.record("promoted", evidence=words.evidence(found, "promote"), took_s=time.monotonic() - began_s)
    wait_champion(stage, version)
    screen.record(f"version {version} is champion", took_s=time.monotonic() - began_s)
    api.wait(
        f"version {version} to answer accurately",
        lambda: True if (stage.traffic.recent[version].accuracy() or 0) > 0.7 else None,
        deadline_s=30,
    )
