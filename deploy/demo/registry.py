"""Model versions from the MLflow server over plain HTTP, as any serving program can: no MLflow installed."""

import json
import time
from typing import Protocol

import httpx
import numpy as np
import skops.io
from numpy.typing import NDArray

from deploy.demo.digits import Images

TRUSTED = ("sklearn.tree._tree.Tree", "numpy.dtype")


class Classifier(Protocol):
    """What is served: class names and one probability per class."""

    classes_: NDArray[np.str_]

    def predict_proba(self, images: Images) -> NDArray[np.float64]:
        """Return shape (n, classes)."""


def load_version(tracking_uri: str, model: str, version: str, *, deadline_s: float = 60) -> Classifier:
    """Download a registered version and return it ready to serve.

    Tries again until `deadline_s`; then raises the last error.
    """
    until = time.monotonic() + deadline_s
    while True:
        try:
            return _download(tracking_uri, model, version)
        except (httpx.HTTPError, json.JSONDecodeError, KeyError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _download(tracking_uri: str, model: str, version: str) -> Classifier:
    with httpx.Client(base_url=tracking_uri, timeout=10) as http:
        found = http.get(
            "/api/2.0/mlflow/model-versions/get-download-uri", params={"name": model, "version": version}
        )
        found.raise_for_status()
        place = found.json()["artifact_uri"].removeprefix("mlflow-artifacts:").lstrip("/")
        artifact = http.get(f"/api/2.0/mlflow-artifacts/artifacts/{place}/model.skops")
        artifact.raise_for_status()
    # Only what these two trainers need may come out of the file; skops runs no code of its own.
    unknown = set(skops.io.get_untrusted_types(data=artifact.content)) - set(TRUSTED)
    if unknown:
        raise RuntimeError(
            f"version {version} of {model} holds types that are not trusted: {sorted(unknown)}"
        )
    served: Classifier = skops.io.loads(artifact.content, trusted=list(TRUSTED))
    return served
