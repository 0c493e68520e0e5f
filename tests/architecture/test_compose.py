"""The containers run the same processes as the embedded stack."""

import yaml

from deploy.local.services import SERVICES
from tests.architecture.tree import ROOT

PARTS = {"kafka", "postgres", "mlflow"}


def test_compose_runs_every_process_of_the_embedded_stack() -> None:
    """docker-compose.yml and deploy/local/services.py list the same modules with the same arguments."""
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    commands = {name: each["command"] for name, each in composed.items() if name not in PARTS}
    assert commands == {each.name: [each.module, each.argument] for each in SERVICES}
    assert composed.keys() > PARTS


def test_compose_gives_every_process_what_it_needs() -> None:
    """Each environment variable that a process needs is set for it."""
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for service in SERVICES:
        given = composed[service.name]["environment"]
        assert [name for name in service.needs if name not in given] == [], service.name
