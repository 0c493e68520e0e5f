"""A registered version's model, over plain HTTP and without importing MLflow.

    GET /api/2.0/mlflow/model-versions/get-download-uri?name=<model>&version=<version>
        -> {"artifact_uri": "mlflow-artifacts:/1/models/m-<id>/artifacts"}
    GET /api/2.0/mlflow-artifacts/artifacts/1/models/m-<id>/artifacts/<file>

`MLmodel` (YAML) names the inputs in their order under `signature: inputs` (JSON) and the model's file under
`flavors: sklearn: pickled_model` (`model.skops`); a version that the retrainer made has `reference.json` and
`card.md` beside them. This is all that a program that serves a version needs. Never reads a pickle.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import skops.io
import yaml  # type: ignore[import-untyped]
from skops.io.exceptions import UntrustedTypesFoundException

from libs.common.errors import NotFound, Refused, Retryable
from services.retrainer.domain.examples import Answer, Names, class_names
from services.retrainer.domain.trainers import TRUSTED_TYPES, Classifier
from services.retrainer.domain.trainers.base import Table


class Artifacts:
    """Fetches from one MLflow server that serves its artifacts; files go to `folder`."""

    def __init__(self, tracking_uri: str, *, timeout_ms: int, folder: Path) -> None:
        self._folder = folder
        self._client = httpx.Client(base_url=tracking_uri, timeout=timeout_ms / 1_000)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def answers(self, model: str, version: str, features: Sequence[str]) -> Answer:
        """Return the version in use on tables with the columns `features`.

        Raises Retryable when MLflow does not answer, Refused (with the reason) when the version cannot be
        asked: it is not there, not a skops file, holds unknown types, or needs other features.
        """
        place = self._place(model, version)
        description = yaml.safe_load(self._fetch(f"{place}/MLmodel"))
        file = str(description.get("flavors", {}).get("sklearn", {}).get("pickled_model", ""))
        if not file.endswith(".skops"):
            raise Refused(
                f"version {version} is no skops file ({file or 'no scikit-learn model'}): it is not loaded"
            )
        path = self._folder / "champion.skops"
        path.write_bytes(self._fetch(f"{place}/{file}"))
        try:
            classifier = cast("Classifier", skops.io.load(path, trusted=list(TRUSTED_TYPES)))
        except UntrustedTypesFoundException as error:
            raise Refused(f"version {version} holds types that are not trusted: {error.unsafe}") from error
        order = _order(_inputs(description, version), features, version)

        def answer(table: Table) -> Names:
            return class_names(np.asarray(classifier.predict(table[:, order])))

        return answer

    def _place(self, model: str, version: str) -> str:
        parameters = {"name": model, "version": version}
        answer = self._get("/api/2.0/mlflow/model-versions/get-download-uri", parameters)
        uri = urlsplit(str(answer.json()["artifact_uri"]))
        if uri.scheme != "mlflow-artifacts":
            raise Refused(f"version {version} lies at {uri.scheme}:, not behind the MLflow server")
        return uri.path.strip("/")

    def _fetch(self, path: str) -> bytes:
        return self._get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}", {}).content

    def _get(self, path: str, parameters: dict[str, str]) -> httpx.Response:
        try:
            response = self._client.get(path, params=parameters)
        except httpx.TransportError as error:
            raise Retryable(f"MLflow does not answer: {error}") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise Retryable(f"MLflow answers {response.status_code} to {path}")
        if response.is_error:
            raise NotFound(f"MLflow answers {response.status_code} to {path}: {response.text[:200]}")
        return response


def _inputs(description: dict[str, dict[str, str]], version: str) -> list[str]:
    """Return the names of the model's inputs in their order."""
    columns = json.loads((description.get("signature") or {}).get("inputs") or "[]")
    names = [str(each["name"]) for each in columns if "name" in each]
    if not names or len(names) != len(columns):
        raise Refused(f"version {version} has no signature that names its features in order")
    return names


def _order(inputs: Sequence[str], features: Sequence[str], version: str) -> list[int]:
    places = {name: index for index, name in enumerate(features)}
    missing = [name for name in inputs if name not in places]
    if missing:
        raise Refused(f"version {version} needs features that the examples lack: {', '.join(missing[:5])}")
    return [places[name] for name in inputs]
