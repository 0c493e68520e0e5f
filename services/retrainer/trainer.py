"""`python -m services.retrainer.trainer FOLDER`: the worker's child that trains. Not for people."""

import sys
from pathlib import Path

import skops.io

from services.retrainer.adapters.artifacts import Artifacts
from services.retrainer.adapters.examples import ParquetExamples
from services.retrainer.domain.report import CANDIDATE, CARD, REFERENCE, REPORT, TRAINING_ORDER, TrainingOrder
from services.retrainer.entrypoints.child import run_child, write_whole
from services.retrainer.handlers.train_candidate import train_candidate


def train(folder: Path) -> None:
    """Carry out `training-order.json`: candidate, reference and card, and at the end `report.json`."""
    order = TrainingOrder.model_validate_json((folder / TRAINING_ORDER).read_bytes())
    champions = Artifacts(order.mlflow_tracking_uri, timeout_ms=order.registry_timeout_ms, folder=folder)
    try:
        candidate = train_candidate(order, ParquetExamples(order.examples_dir), champions)
    finally:
        champions.close()
    skops.io.dump(candidate.model, folder / CANDIDATE)
    write_whole(folder / REFERENCE, candidate.reference.to_json())
    write_whole(folder / CARD, candidate.card.encode())
    write_whole(folder / REPORT, candidate.report.model_dump_json(indent=2).encode())


if __name__ == "__main__":
    sys.exit(run_child("services.retrainer.trainer", train))
