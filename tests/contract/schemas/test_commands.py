"""The two commands, on a folder of their own."""

import json
from pathlib import Path

import pytest

from schemas import compatibility, generate


def test_check_finds_what_generate_mends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, changed and orphaned files are stale: --check exits 1 and names them, a run mends them."""
    folder = ["--folder", str(tmp_path)]
    assert generate.main([*folder, "--check"]) == 1
    assert generate.main(folder) == 0
    assert generate.main([*folder, "--check"]) == 0
    (tmp_path / "json" / "exposure.json").write_text("{}")
    (tmp_path / "json" / "impression.json").write_text("{}")
    (tmp_path / "asyncapi.json").unlink()
    capsys.readouterr()
    assert generate.main([*folder, "--check"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["stale: asyncapi.json", "stale: json/exposure.json", "stale: json/impression.json"]
    assert "make schemas" in said[3]
    assert generate.main(folder) == 0
    assert generate.stale(tmp_path) == []
    assert not (tmp_path / "json" / "impression.json").exists()


def test_an_incompatible_change_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against a baseline that allowed more, the command exits 1 and lists what broke."""
    generate.write(tmp_path)
    folder = ["--folder", str(tmp_path / "json")]
    assert compatibility.main(folder) == 0
    path = tmp_path / "json" / "exposure.json"
    wider = json.loads(path.read_text())
    wider["properties"]["unit_id"]["maxLength"] = 512
    wider["required"].remove("variant")
    path.write_text(json.dumps(wider))
    capsys.readouterr()
    assert compatibility.main(folder) == 1
    assert capsys.readouterr().out.splitlines() == [
        "incompatible: exposure: variant: is required now",
        "incompatible: exposure: unit_id: maxLength was 512, is 256",
    ]


def test_without_a_commit_the_files_themselves_are_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    """A revision that git does not know leaves the working tree's files to compare with."""
    assert compatibility.committed("no-such-revision") == {}
    assert compatibility.main(["--since", "no-such-revision"]) == 0
    assert "compatible with all 14 events" in capsys.readouterr().out
