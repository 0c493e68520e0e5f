"""The end of the demo: quiet, compare, show."""

import time

from deploy.demo.api import ActFailed
from deploy.demo.ledger import Ledger
from deploy.demo.offline import MODEL
from deploy.demo.screen import Compared
from deploy.demo.watch import Stage
from trimtab import Trimtab

SETTLE_DEADLINE_S = 60


def close(stage: Stage, client: Trimtab, ledger: Ledger) -> None:
    """Let the last labels arrive, then hold every count against the ledger's.

    Raises ActFailed when a count still differs after the deadline.
    """
    stage.traffic.pause()
    stage.screen.say("no new requests; waiting for the last labels and for every count to settle ...")
    stage.api.wait("the last labels", lambda: stage.traffic.outstanding_labels() == 0 or None, deadline_s=30)
    if not client.flush(30_000):
        raise ActFailed(f"the client could not deliver all events: {client.stats()}")
    until = time.monotonic() + SETTLE_DEADLINE_S
    rows = compare(stage, ledger)
    while not all(row.equal for row in rows) and time.monotonic() < until:
        time.sleep(0.5)
        rows = compare(stage, ledger)
    stage.screen.closing_table()
    stage.screen.count_table(rows)
    different = [row.what for row in rows if not row.equal]
    if different:
        raise ActFailed(f"these counts differ from the ledger: {'; '.join(different)}")


def compare(stage: Stage, ledger: Ledger) -> list[Compared]:
    """Return every count that both sides keep."""
    rows: list[Compared] = []
    for experiment_id in stage.experiments:
        result = (stage.api.experiment(experiment_id) or {}).get("result") or {"counts": []}
        theirs = {count["variant"]: count for count in result["counts"]}
        for variant, ours in ledger.experiment(experiment_id).items():
            count = theirs.get(variant, {})
            for what in ("units", "exposures", "conversions"):
                label = f"{experiment_id}, {variant}: {what}"
                rows.append(Compared(label, count.get(what, 0), getattr(ours, what)))
    known = (stage.api.model(MODEL) or {}).get("health", [])
    health = {each["version"]: each for each in known}
    for version, counted in ledger.versions().items():
        for what in ("predictions", "labelled"):
            label = f"{MODEL} version {version}: {what}"
            rows.append(Compared(label, health.get(version, {}).get(what, 0), getattr(counted, what)))
    return rows
