"""`trimtab ...`: which addresses it uses, and what it says when it has none."""

import fcntl
from pathlib import Path

import pytest

from deploy.command import run, with_addresses
from deploy.local.homes import Home
from deploy.local.state import StackRecord, write_record

HERE = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092", "DATABASE_URL": "postgresql://127.0.0.1/trimtab"}


def test_the_running_stacks_addresses_are_used(tmp_path: Path) -> None:
    """A stack that runs in TRIMTAB_HOME lends its addresses; named ones win, and the two are never mixed."""
    home = Home(tmp_path / "up")
    home.root.mkdir()
    environment = {"TRIMTAB_HOME": str(tmp_path)}
    write_record(home.state_file, StackRecord("ready", 1, "mark", addresses=HERE))
    assert with_addresses(environment) == environment
    with home.lock_file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert with_addresses(environment) == environment | HERE
        named = environment | {"DATABASE_URL": "postgresql://elsewhere/x"}
        assert with_addresses(named) == named


def test_without_addresses_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing runs and nothing is named: exit code 2, the variables, and how to start a stack."""
    assert run(["audit", "x"], {"TRIMTAB_HOME": str(tmp_path)}) == 2
    told = capsys.readouterr().err
    assert "KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL" in told
    assert "make up" in told


def test_an_unknown_command_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """No command and a wrong one end with 2 and the usage; --help with 0."""
    assert run([], {}) == 2
    assert run(["audti"], {}) == 2
    assert capsys.readouterr().err.count("usage: trimtab audit EXPERIMENT") == 2
    assert run(["--help"], {}) == 0
    assert "usage: trimtab audit EXPERIMENT" in capsys.readouterr().out
