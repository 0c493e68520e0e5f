"""MLflow's own server application in one process: what `mlflow server --workers 1` runs, without its parent.

    python -m deploy.local.mlflow_server HOST PORT DATABASE_FILE ARTIFACTS_FOLDER

The command imports MLflow twice, in two processes that stay (255 MB and 8 s each). One is enough, and one
can be killed without leaving the other behind. The names of the settings are MLflow's own constants.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    """Serves until SIGTERM."""
    host, port, database, artifacts = sys.argv[1:5]
    store = f"sqlite:///{database}"
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # else a dozen processes
    import uvicorn
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = Path(artifacts).as_uri()
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
