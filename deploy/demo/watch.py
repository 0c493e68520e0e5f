"""Waiting for what must follow by itself."""

import time
from dataclasses import dataclass

from deploy.demo.api import ActFailed, Api, Json
from deploy.demo.offline import MODEL
from deploy.demo.screen import Screen
from deploy.demo.traffic import Traffic

FINAL_FAILURES = ("refused", "rejected", "failed")


@dataclass(slots=True)
class Stage:
    """What the acts play on."""

    api: Api
    traffic: Traffic
    screen: Screen
    experiments: list[str]
    """Those that were played, for the closing comparison."""


def register(api: Api, version: str, role: str) -> None:
    """Put a version under the loop's care."""
    body = {"version": version, "role": role, "by": "demo", "reason": f"{role} of the demo"}
    api.send("POST", f"/v1/models/{MODEL}/versions", body)


def wait_champion(stage: Stage, version: str) -> None:
    """Wait until the version is champion."""

    def look() -> bool | None:
        known = stage.api.model(MODEL)
        champion = ((known or {}).get("model") or {}).get("champion") or {}
        return True if champion.get("version") == version else None

    stage.api.wait(f"version {version} to be champion", look, deadline_s=120)


def wait_experiment(stage: Stage, experiment_id: str, states: tuple[str, ...], *, deadline_s: float) -> Json:
    """Wait until the experiment is in one of these states; return it with its verdicts."""

    def look() -> Json | None:
        found = stage.api.experiment(experiment_id)
        return found if found and found["experiment"]["state"] in states else None

    return stage.api.wait(f"{experiment_id} to be {' or '.join(states)}", look, deadline_s=deadline_s)


def wait_next_stage(stage: Stage, experiment_id: str, after: int) -> Json:
    """Wait until a running experiment is beyond the stage `after`, or has ended; return it."""

    def look() -> Json | None:
        found = stage.api.experiment(experiment_id)
        if found is None:
            return None
        moved = found["experiment"]["state"] != "running" or found["experiment"]["stage"] > after
        return found if moved else None

    return stage.api.wait(f"{experiment_id} to leave stage {after + 1}", look, deadline_s=120)


def wait_last_served(stage: Stage, version: str, ended_at_ms: int) -> None:
    """Wait until the version has been silent for two seconds, and record when it last answered."""

    def look() -> float | None:
        last_ms = stage.traffic.last_served_ms.get(version, 0.0)
        return last_ms if time.time() * 1_000 - last_ms > 2_000 else None

    last_ms = stage.api.wait(f"version {version} to fall silent", look, deadline_s=30)
    late_s = max(last_ms - ended_at_ms, 0) / 1_000
    stage.screen.record(
        f"rollback in force: version {version} answers nobody",
        evidence=f"its last answer came {late_s:.2f} s after the decision",
    )


def health_in(api: Api, version: str, states: tuple[str, ...]) -> Json | None:
    """Return the health of a version if it is in one of these states."""
    for health in (api.model(MODEL) or {}).get("health", []):
        if health["version"] == version and health["state"] in states:
            found: Json = health
            return found
    return None


def drifted(api: Api, version: str) -> Json | None:
    """Return the health of a version once at least one of its features drifted."""
    health = health_in(api, version, ("drifting", "degraded"))
    return health if health and health["drifted_features"] else None


def wait_retrained(stage: Stage) -> tuple[str, Json]:
    """Wait until a degradation has led to a registered version; return its number and the retraining."""
    told = ""

    def look() -> Json | None:
        nonlocal told
        runs: list[Json] = (stage.api.model(MODEL) or {}).get("retrainings", [])
        caused = [run for run in runs if run["cause"] == "degradation"]
        if not caused:
            return None
        latest = caused[-1]
        if latest["state"] != told:
            told = latest["state"]
            stage.screen.say(f"retraining {told}: {latest['reason']}")
        if told in FINAL_FAILURES:
            raise ActFailed(f"the retraining was {told}: {latest['reason']}")
        return latest if told == "registered" else None

    latest = stage.api.wait("a new version to be registered", look, deadline_s=180)
    return str(latest["version"]), latest
