"""What a data scientist did before the demo: train two versions offline and register them in MLflow.

Run as a process of its own (`python -m deploy.demo.offline`), because importing MLflow takes long and
costs memory that the traffic program does not need. Prints the two version numbers as JSON.
"""

import json
import os
import sys
import warnings

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from deploy.demo.digits import FEATURES, Images, Labels, jitter, load_pools, transposed

MODEL = "digits"
IMAGES = 3_000


def train(images: Images, labels: Labels) -> RandomForestClassifier:
    """Return a forest fitted on the images."""
    return RandomForestClassifier(n_estimators=50, random_state=0).fit(images, labels)


def main() -> int:
    """Train and register: version 1 is sound, version 2 saw every image transposed."""
    pools = load_pools()
    random = np.random.default_rng(0)
    chosen = random.integers(0, len(pools.offline_images), IMAGES)
    images, labels = jitter(pools.offline_images[chosen], random), pools.offline_labels[chosen]
    sound = _register(train(images, labels), "trained on 3,000 offline digits")
    bad = _register(train(transposed(images), labels), "the same, with rows and columns swapped by mistake")
    sys.stdout.write(json.dumps({"champion": sound, "challenger": bad}) + "\n")
    return 0


def _register(forest: RandomForestClassifier, description: str) -> str:
    import mlflow
    import mlflow.sklearn
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec("double", name) for name in FEATURES]), outputs=Schema([ColSpec("string")])
    )
    mlflow.set_experiment(MODEL)
    with mlflow.start_run(description=description):
        logged = mlflow.sklearn.log_model(
            forest,
            name="model",
            signature=signature,
            pip_requirements=["scikit-learn", "skops"],
            serialization_format="skops",
            skops_trusted_types=["sklearn.tree._tree.Tree", "numpy.dtype"],
            registered_model_name=MODEL,
        )
    return str(logged.registered_model_version)


if __name__ == "__main__":
    # MLflow warns about its own defaults and draws progress bars; the answer is the only output.
    warnings.simplefilter("ignore")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    sys.exit(main())
