"""Invariant 20: one evstore at a time in a folder, whatever log it has; and whoever comes second is told what to do."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from evstore.worktree.disk.folder_lock import FILE
from tests.process.commands import TOKEN, Served, done, evstore, log_of, serving


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A log elsewhere."""
    return tmp_path / "elsewhere" / "other.db"


def refused(folder: Path, *flags: object) -> str:
    """What a server says that is not to start."""
    result = evstore("serve", "--no-browser", "--port", 0, *flags, cwd=folder)
    assert (result.returncode, result.stdout) == (1, ""), result
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    return result.stderr


@contextmanager
def taken(path: Path) -> Generator[None]:
    """What another process, or another machine, has locked."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def test_another_log(folder: Path, other: Path) -> None:
    with serving(folder) as server:
        said = refused(folder, "--db", other)
        page = f"{server.url}?token={TOKEN}"
        assert f"{folder} is served already: {page} (process {server.process.pid}, " in said
        assert build_opener(HTTPCookieProcessor()).open(page).status == 200
        assert f"with its log in {log_of(folder)}" in said
        assert f"kill {server.process.pid}" in said
        assert not other.exists()  # nothing was begun
        server.save("a.txt", "still served\n")
        assert (folder / "a.txt").read_text() == "still served\n"


def test_the_same_log(folder: Path) -> None:
    with serving(folder) as server:
        said = refused(folder)
        assert f"{server.url}?token={TOKEN} (process {server.process.pid}). Go there" in said


def test_the_log_that_is_in_the_folder_when_another_one_is_served(folder: Path, other: Path) -> None:
    """Also a command that would write files there is refused, with nothing done; one that reads is not."""
    with serving(folder) as server:
        server.save("a.txt", "three\n")
    with serving(folder, EVSTORE_DB=str(other)) as server:
        assert f"with its log in {other}" in refused(folder)
        result = evstore("restore", "a.txt", "--at", 2, cwd=folder)
        assert (result.returncode, result.stdout) == (1, "")
        assert f"is served already: {server.url}" in result.stderr
        assert done("show", "a.txt", cwd=folder) == "three\n"
        assert server.text("a.txt") == "three\n"
    done("restore", "a.txt", "--at", 2, cwd=folder)
    assert (folder / "a.txt").read_text() == "one\n"


def test_by_another_path(folder: Path, other: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with serving(folder) as server:
        assert server.url in refused(tmp_path, tmp_path / "link", "--db", other)


def test_no_folder_is_no_matter(folder: Path, other: Path) -> None:
    with serving(folder), serving(folder, "--no-folder", EVSTORE_DB=str(other)) as second:
        second.save("only.txt", "in the log")


def test_the_same_log_without_a_folder(folder: Path) -> None:
    with serving(folder, "--no-folder") as server:
        said = refused(folder, "--no-folder")
        assert f"An evstore uses {log_of(folder)} already" in said
        assert f"serves it at {server.url}?token={TOKEN}" in said


def start_kernel_and_shell(server: Served) -> None:
    """Processes that live on for a moment when their server is killed, and must not have its lock."""
    server.ask("POST", "api/kernels", {"name": "python3"})
    server.ask("POST", "api/terminals", {})


@pytest.mark.parametrize("with_another_log", [False, True])
def test_a_killed_server_keeps_nobody_out(folder: Path, other: Path, with_another_log: bool) -> None:
    with serving(folder) as server:
        start_kernel_and_shell(server)
        server.save("a.txt", "before\n")
        assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    env = {"EVSTORE_DB": str(other)} if with_another_log else {}
    with serving(folder, **env) as again:
        assert again.text("a.txt") == "before\n"


def test_a_folder_whose_own_directory_can_not_be_had(folder: Path, other: Path) -> None:
    """As when another user has made it: the folder itself is locked."""
    with serving(folder) as server:
        os.rename(folder / ".evstore" / FILE, folder / ".evstore" / "gone")
        (folder / ".evstore" / FILE).mkdir()
        said = refused(folder, "--db", other)
        assert "is in use by another evstore" in said and "another user's" in said
        (folder / ".evstore" / FILE).rmdir()
        assert server.text("a.txt") == "one\ntwo\n"


def test_a_server_on_another_machine(folder: Path, other: Path) -> None:
    """Which only the file tells: directories are locked for one machine alone."""
    with serving(folder):
        pass
    file = folder / ".evstore" / FILE
    told = json.loads(file.read_text())
    assert told == {"pid": told["pid"], "host": socket.gethostname(), "db": str(log_of(folder))}
    file.write_text(json.dumps(told | {"host": "far.example"}))
    with taken(file):
        assert f"process {told['pid']} on far.example, with its log in" in refused(folder, "--db", other)
        file.write_text("\x1b[31m{")
        assert "is in use by another evstore" in refused(folder)
    with taken(folder):
        assert "is in use by another evstore" in refused(folder, "--db", other)
    with serving(folder):
        pass


@pytest.mark.parametrize("name", [FILE, "boot", "folder"])
def test_nothing_is_written_where_a_link_leads(folder: Path, tmp_path: Path, name: str) -> None:
    """A folder may come from anybody, with what looks like evstore's own files in it."""
    precious = tmp_path / "precious"
    precious.write_text("")
    (folder / ".evstore" / name).symlink_to(precious)
    with serving(folder) as server:
        server.save("a.txt", "saved")
        assert (folder / "a.txt").read_text() == "saved"
    assert precious.read_text() == ""


def test_a_link_in_the_place_of_the_log_s_lock(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    log_of(folder).with_name("log.db.lock").unlink()
    log_of(folder).with_name("log.db.lock").symlink_to(precious)
    assert "log.db.lock" in refused(folder)
    assert precious.read_text() == "mine"
