"""What is slow to import is imported by those who need it only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evstore.cli import COMMANDS
from tests.process.commands import PATIENCE, environment

SLOW = {
    "aiohttp",
    "argon2",
    "evstore.worktree.working_folder",  # and with it half of evstore
    "jsonschema",
    "jupyter_client",
    "jupyter_events",
    "jupyterlab_server",
    "lark",  # with which rfc3987_syntax builds its grammar
    "nbdime",
    "nbformat",
    "rich.console",
}
ANYHOW = {"serve": {"argon2"}}


TELL = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"


def slowly_imported(code: str, cwd: Path) -> set[str]:
    """What of SLOW a process imports that runs this code."""
    command = [sys.executable, "-c", f"{TELL}\n{code}"]
    run = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return SLOW & set(run.stderr.split())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_slow(command: str, tmp_path: Path) -> None:
    args = [*command.split(), "--help"]
    assert slowly_imported(f"from evstore.cli import main; main({args})", tmp_path) == ANYHOW.get(
        command, set()
    )


def test_a_command_that_reads_imports_only_what_prints_it(folder: Path) -> None:
    for args, needs in (
        ("log", {"rich.console"}),
        ("show a.txt", set()),
        ("verify", set()),
        ("status", set()),
    ):
        code = f"from evstore.cli import main; main({args.split()}, standalone_mode=False)"
        assert slowly_imported(code, folder) == needs, args


def test_a_server_starts_without_what_it_may_never_need(tmp_path: Path) -> None:
    found = slowly_imported("import evstore.cli.session", tmp_path)
    assert found == {"aiohttp", "argon2", "evstore.worktree.working_folder", "jupyter_client"}


@pytest.mark.parametrize(
    "use",
    [
        "from evstore.core import notebooks; notebooks.empty()",
        "from evstore.core import diffing, notebooks; diffing.diff(*[b'{}'] * 2, notebook=True, names=('', ''))",
        "from evstore.services import event_publisher; event_publisher.load_events()",
    ],
)
def test_the_grammar_of_iris_is_never_built(use: str, tmp_path: Path) -> None:
    """It takes jsonschema 1.4 s, and no schema of ours has an IRI in it."""
    found = slowly_imported(use, tmp_path)
    assert "jsonschema" in found
    assert "lark" not in found
