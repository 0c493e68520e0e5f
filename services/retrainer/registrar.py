"""`python -m services.retrainer.registrar FOLDER`: the worker's child that registers in MLflow.

A process of its own: MLflow's client takes seconds to import, and memory that the worker need not hold.
"""

import sys
from pathlib import Path

from services.retrainer.adapters.mlflow import MlflowRegistry
from services.retrainer.domain.report import REGISTERED, REGISTRATION_ORDER, RegistrationOrder
from services.retrainer.entrypoints.child import run_child, write_whole


def register(folder: Path) -> None:
    """Carry out `registration-order.json` of this folder; the answer is `registered.json`."""
    order = RegistrationOrder.model_validate_json((folder / REGISTRATION_ORDER).read_bytes())
    registered = MlflowRegistry(order.mlflow_tracking_uri).register(order, folder)
    write_whole(folder / REGISTERED, registered.model_dump_json().encode())


if __name__ == "__main__":
    sys.exit(run_child("services.retrainer.registrar", register))
