"""MLflow's own client: the only place that imports it (4 to 14 s), so only ever in a child process."""

import logging
from pathlib import Path

import mlflow
import mlflow.sklearn
import sklearn
import skops.io
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from libs.common.errors import Refused, Retryable
from services.retrainer.domain.report import (
    CANDIDATE,
    CARD,
    REFERENCE,
    REPORT,
    Registered,
    RegistrationOrder,
    TrainingReport,
)
from services.retrainer.domain.trainers import TRAINERS

log = logging.getLogger(__name__)

RETRAINING_TAG = "trimtab.retraining_id"
ALIAS = "challenger"
_LASTING = frozenset({"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "BAD_REQUEST"})


class MlflowRegistry:
    """Puts candidates into one MLflow server."""

    def __init__(self, tracking_uri: str) -> None:
        mlflow.set_tracking_uri(tracking_uri)
        self._client = MlflowClient()

    def register(self, order: RegistrationOrder, folder: Path) -> Registered:
        """Log the candidate of `folder` and register it, once per retraining id; set the alias `challenger`.

        A second call finds the version by its tag and registers nothing. Raises Retryable when MLflow is
        away, Refused when it does not take the model.
        """
        try:
            version = self._find(order) or self._create(order, folder)
            self._client.set_registered_model_alias(order.model, ALIAS, str(version.version))
        except MlflowException as error:
            kind = Refused if error.error_code in _LASTING else Retryable
            raise kind(f"MLflow: {error.error_code}: {error.message[:500]}") from error
        return Registered(
            version=str(version.version), run_id=version.run_id, created_at_ms=int(version.creation_timestamp)
        )

    def _find(self, order: RegistrationOrder) -> ModelVersion | None:
        name, tag = order.model, order.retraining_id
        found = self._client.search_model_versions(f"name='{name}' and tag.`{RETRAINING_TAG}`='{tag}'")
        return found[0] if found else None

    def _create(self, order: RegistrationOrder, folder: Path) -> ModelVersion:
        report = TrainingReport.model_validate_json((folder / REPORT).read_bytes())
        card = (folder / CARD).read_text(encoding="utf-8")
        tags = _tags(order, report)
        experiment = mlflow.set_experiment(f"trimtab-{order.model}")
        with mlflow.start_run(
            experiment_id=experiment.experiment_id,
            run_name=f"retraining {order.retraining_id[:8]}",
            tags=tags,
        ):
            mlflow.log_params({"trainer": report.trainer, **report.parameters})
            mlflow.log_metrics(report.all_scores())
            logged = mlflow.sklearn.log_model(
                skops.io.load(folder / CANDIDATE, trusted=list(TRAINERS[report.trainer].trusted_types)),
                name="model",
                signature=signature(report),
                # Given, so that MLflow does not spend 16 s on finding out.
                pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}"],
                serialization_format="skops",
                skops_trusted_types=list(TRAINERS[report.trainer].trusted_types),
            )
            for name in (REFERENCE, CARD):
                self._client.log_model_artifact(logged.model_id, str(folder / name))
        # One call sets the tags and makes the version: there is none without its retraining id.
        version = mlflow.register_model(logged.model_uri, order.model, tags=tags)
        self._client.update_model_version(order.model, str(version.version), description=card)
        return version


def signature(report: TrainingReport) -> ModelSignature:
    """Return the features by name in the order in which the model takes them, and the kind of its answer."""
    inputs = Schema([ColSpec("double", name, required=False) for name in report.features])
    return ModelSignature(
        inputs=inputs, outputs=Schema([ColSpec("long" if report.classes_are_numbers else "string")])
    )


def _tags(order: RegistrationOrder, report: TrainingReport) -> dict[str, str]:
    tags = {
        RETRAINING_TAG: order.retraining_id,
        "trimtab.cause": order.cause,
        "trimtab.data_sha256": report.data_hash,
        "trimtab.first_ms": str(report.first_ms),
        "trimtab.split_ms": str(report.split_ms),
        "trimtab.last_ms": str(report.last_ms),
        "trimtab.examples": str(report.examples),
    }
    if order.cause_id is not None:
        tags["trimtab.cause_id"] = order.cause_id
    if report.champion_version is not None:
        tags["trimtab.champion"] = report.champion_version
    return tags
