"""A git repository that is served: what `git checkout` does to the modes of files is in the log, and git finds nothing changed."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from tests.git_repository import commit, git, new_repository, write
from tests.process.commands import PATIENCE, Served, answer, serving


def is_program(file: Path) -> bool:
    return bool(file.stat().st_mode & stat.S_IXUSR)


def until_log_has(server: Served, path: str, *events: str) -> None:
    """Wait until these are an entry's events, the oldest first."""
    deadline = time.monotonic() + PATIENCE
    while (found := events_of(server, path)) != list(events):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def events_of(server: Served, path: str) -> list[str]:
    return [one["event"] for one in reversed(server.ask("GET", f"api/history/versions/{path}")["versions"])]


def test_branches_with_and_without_a_mode(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "project")
    write(folder, "run.sh", "#!/bin/sh\necho well\n")
    write(folder, "always.sh", "#!/bin/sh\n")
    (folder / "always.sh").chmod(0o755)
    commit(folder, "Without")
    git(folder, "checkout", "--quiet", "-b", "with")
    (folder / "run.sh").chmod(0o755)
    write(folder, "new.sh", "#!/bin/sh\n")
    (folder / "new.sh").chmod(0o755)
    commit(folder, "With")
    git(folder, "checkout", "--quiet", "main")
    born = ("EntryCreated", "FileSaved")
    with serving(folder) as server:
        assert events_of(server, "always.sh") == [*born, "ExecutableChanged"]
        git(folder, "checkout", "--quiet", "with")
        until_log_has(server, "run.sh", *born, "ExecutableChanged")
        until_log_has(server, "new.sh", *born, "ExecutableChanged")
        then = answer("log", "-n", 1, cwd=folder)["events"][0]["offset"]
        git(folder, "checkout", "--quiet", "main")
        until_log_has(server, "run.sh", *born, "ExecutableChanged", "ExecutableChanged")
        until_log_has(server, "new.sh", *born, "ExecutableChanged", "EntryDeleted")
        assert git(folder, "status", "--porcelain") == b""

        server.ask("POST", "api/history/restore/", {"at": then})
        assert is_program(folder / "run.sh") and is_program(folder / "new.sh")
        git(folder, "checkout", "--quiet", "--force", "with")
        assert git(folder, "status", "--porcelain") == b""
    (folder / "run.sh").chmod(0o644)
    with serving(folder) as server:
        until_log_has(server, "run.sh", *born, *["ExecutableChanged"] * 4)
        assert git(folder, "diff", "--summary") == b" mode change 100755 => 100644 run.sh\n"
