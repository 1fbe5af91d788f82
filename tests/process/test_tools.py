"""tools/: the scripts that look at a log without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.commands import PATIENCE, environment, log_of

TOOLS = Path(__file__).parents[2] / "tools"


def run(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / f"{name}.py"), *map(str, args)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("name", "args", "lines"),
    [
        (
            "replay",
            (),
            ["  history: 12 rows", "now: 4 files, 1 directories", "The stored tables are the same."],
        ),
        ("inspect_log", ("--limit", 1), ["head: offset 12,", "1  20", '"name":"a.txt","kind":"file"']),
        ("inspect_log", ("--after", 9, "--limit", 1), ["10  20", "FileSaved 1  by 'import'"]),
        ("inspect_log", ("--bodies",), ["4 bytes, 1 chunks", "projection tree: up to offset 12"]),
        ("verify", (), ["12 events, 7 bodies,", "0 problems"]),
    ],
)
def test_a_sound_log(folder: Path, name: str, args: tuple[object, ...], lines: list[str]) -> None:
    before = log_of(folder).read_bytes()
    result = run(name, log_of(folder), *args)
    assert (result.returncode, result.stderr) == (0, "")
    for line in lines:
        assert line in result.stdout
    assert log_of(folder).read_bytes() == before


@pytest.mark.parametrize("name", ["replay", "inspect_log", "verify"])
def test_help_and_bad_input(folder: Path, name: str) -> None:
    assert f"python tools/{name}.py" in run(name, "--help").stdout
    result = run(name, folder / "a.txt")
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        result.stderr == f"Error: {folder / 'a.txt'} is not an evstore database (file is not a database).\n"
    )
    assert run(name).returncode == 2


def test_a_damaged_log(folder: Path) -> None:
    data = log_of(folder).read_bytes()
    log_of(folder).write_bytes(data.replace(b'"name":"a.txt"', b'"name":"b.txt"'))
    assert "event 1: its payload has been changed" in run("verify", log_of(folder)).stdout
    result = run("replay", log_of(folder))
    assert result.returncode == 1
    assert "table places: 1 rows of a replay are missing, 1 rows are not what a replay gives" in result.stdout
