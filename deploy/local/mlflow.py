"""The MLflow server: its records in SQLite, its artifacts in a folder that it serves itself, on loopback."""

import importlib.util
import sys

from deploy.local.errors import StackError
from deploy.local.homes import CHECKOUT, Home
from deploy.local.parts import Part
from deploy.local.ports import LOOPBACK, choose_port
from deploy.local.probes import http_ready

NAME, VARIABLE = "mlflow", "MLFLOW_TRACKING_URI"
PREFERRED_PORT = 5000


def mlflow_part(home: Home) -> Part:
    """The embedded server. It answers last of all parts; only the retrainer should wait for it."""
    if importlib.util.find_spec("mlflow") is None:
        raise StackError(
            "The package mlflow is not installed.", f"Run make install, or set {VARIABLE}=http://..."
        )
    folder, port = home.folder(NAME), choose_port(PREFERRED_PORT)
    artifacts = home.folder("mlflow") / "artifacts"
    artifacts.mkdir(exist_ok=True)
    url = f"http://{LOOPBACK}:{port.number}"
    module = (sys.executable, "-m", "deploy.local.mlflow_server")
    return Part(
        name=NAME,
        address=url,
        probe=http_ready(f"{url}/health"),
        command=(*module, LOOPBACK, str(port.number), str(folder / "mlflow.db"), str(artifacts)),
        environment={"PYTHONPATH": str(CHECKOUT)},
        folder=folder,
        ports=(port,),
        ready_deadline_s=180.0,
    )
