"""jupyter_server's own tests pass against evstore, but for those of not_applicable.toml.

`python tests/jupyter_server/run.py` runs them alone, or some of them, with pytest's own output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jupyter_server.table import Table

RUN = Path(__file__).with_name("run.py")
LIMIT = 400  # seconds; it takes 40

FLAKES = 2  # tests that may fail once


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, RUN, "-q", *arguments],
        env=ours,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    print(done.stdout, done.stderr)
    return done


@pytest.mark.timeout(2 * LIMIT + 20)
def test_jupyter_servers_own_tests_pass() -> None:
    """Some of theirs compare a kernel's state in two answers, between which it comes up on a busy machine:
    so one or two that fail get a second chance, alone."""
    done = run()
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    failed = {line.split()[1].partition("[")[0] for line in lines}  # each with all its parameters
    if 0 < len(failed) <= FLAKES:
        done = run("--last-failed", "tests")
    assert done.returncode == 0


def test_an_entry_of_the_table_that_names_nothing_is_stale() -> None:
    table = Table(files={}, tests={"a.py::test_x": "", "a.py::test_y*": "", "b.py::test_z": ""}, repeats={})
    assert table.stale_tests(["a.py::test_x[1]", "a.py::test_xx"]) == ["a.py::test_y*"]
    assert table.excludes_test("a.py::test_x[1-a/b]")
    assert not table.excludes_test("a.py::test_xx")


def test_every_entry_of_the_table_has_a_reason() -> None:
    table = Table.read()
    assert all((table.files | table.tests | table.repeats).values())
