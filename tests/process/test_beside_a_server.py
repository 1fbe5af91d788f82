"""Commands on a log that a server is writing: they read beside it, and write through it."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.process.commands import Served, answer, done, evstore, serving
from tests.process.conftest import DATE

LINKED = "{} is a symbolic link {}: nothing is written through links."
WHEN = "2023-11-14T22:13:20.123456Z"  # a moment after DATE


@pytest.fixture
def server(folder: Path) -> Generator[Served]:
    with serving(folder) as server:
        yield server


def test_reading(server: Served) -> None:
    server.save("a.txt", "three\n")
    assert done("show", "a.txt", cwd=server.folder) == "three\n"
    assert done("show", "a.txt", "--at", 9, cwd=server.folder) == "one\n"
    assert "-one" in done("diff", "a.txt", "--from", 9, cwd=server.folder)
    newest = answer("log", cwd=server.folder)["events"][0]
    assert (newest["path"], newest["event"]) == ("a.txt", "FileSaved")
    assert newest == server.ask("GET", f"api/history/log?after={newest['offset'] - 1}")["events"][0]
    assert done("verify", cwd=server.folder).startswith("All is well")


def test_restore(server: Served) -> None:
    server.save("a.txt", "three\n")
    end = answer("log", cwd=server.folder)["head"]
    told = answer("restore", "a.txt", "--at", 9, "--dry-run", cwd=server.folder)
    assert told == {"offset": end, "changes": [{"action": "restore", "path": "a.txt"}]}
    assert server.text("a.txt") == "three\n"
    done("restore", "a.txt", "--at", 9, cwd=server.folder)
    assert server.text("a.txt") == "one\n"
    assert answer("log", cwd=server.folder)["events"][0]["actor"] == "token"
    refused = evstore("restore", "nothing.txt", "--at", 9, cwd=server.folder)
    assert (refused.returncode, refused.stderr) == (1, "Error: There was no nothing.txt at offset 9.\n")


def test_restore_to_a_time(server: Served) -> None:
    then = answer("log", "a.txt", cwd=server.folder)["events"][0]["at"]
    server.save("a.txt", "three\n")
    done("restore", "a.txt", "--at", then, cwd=server.folder)
    assert server.text("a.txt") == "one\ntwo\n"


def test_undelete(server: Served) -> None:
    server.ask("DELETE", "api/contents/sub")
    assert done("undelete", "sub", cwd=server.folder) == "It is at sub again.\n"
    assert server.text("sub/b.txt") == "below\n"


def test_rebuild(server: Served) -> None:
    before = answer("log", cwd=server.folder)
    done("rebuild", cwd=server.folder)
    assert answer("log", cwd=server.folder) == before
    assert server.text("sub/b.txt") == "below\n"


def test_import(server: Served, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    large = os.urandom(9_000_000)  # three requests
    (source / "large.bin").write_bytes(large)
    (source / "in" / "empty file").write_bytes(b"")
    (source / "in" / "100% #1?.ipynb").write_text("not a notebook")
    (source / "link").symlink_to("/etc/passwd")
    report = answer("import", source, "--to", "from here/é", cwd=server.folder)
    assert (report["files"], report["directories"], report["bytes"]) == (3, 1, 9_000_014)
    assert report["skipped"] == [{"path": "link", "reason": "a symbolic link"}]
    done("export", tmp_path / "out", "--path", "from here/é", cwd=server.folder)
    assert (tmp_path / "out" / "large.bin").read_bytes() == large
    assert (tmp_path / "out" / "in" / "empty file").read_bytes() == b""
    assert (tmp_path / "out" / "in" / "100% #1?.ipynb").read_text() == "not a notebook"
    saves = answer("log", "from here/é/large.bin", "--event", "FileSaved", cwd=server.folder)["events"]
    assert len(saves) == 1
    (source / "new").write_text("new")
    (source / "in" / "empty file").write_text("no longer empty")
    again = answer("import", source, "--to", "from here/é", cwd=server.folder)
    assert (again["files"], again["directories"], again["bytes"], again["unchanged"]) == (2, 0, 18, 3)


def test_import_keeps_dates_and_programs(server: Served, tmp_path: Path) -> None:
    source, to = tmp_path / "source", server.folder / "to"
    source.mkdir()
    for name, content, mode in (("run.sh", b"#!/bin/sh\n", 0o755), ("large.bin", bytes(9_000_000), 0o700)):
        (source / name).write_bytes(content)
        (source / name).chmod(mode)
        os.utime(source / name, (DATE, DATE + 0.123456))
    assert answer("import", source, "--to", "to", cwd=server.folder)["files"] == 2
    for name in os.listdir(source):
        assert (to / name).stat().st_mode & 0o111
        assert (to / name).stat().st_mtime_ns // 1000 == (source / name).stat().st_mtime_ns // 1000
        assert server.ask("GET", f"api/contents/to/{name}?content=0")["last_modified"] == WHEN
    assert answer("import", source, "--to", "to", cwd=server.folder)["unchanged"] == 2
    (source / "run.sh").chmod(0o644)
    assert answer("import", source, "--to", "to", cwd=server.folder)["files"] == 1
    assert not (to / "run.sh").stat().st_mode & 0o111
    assert answer("log", "to/run.sh", cwd=server.folder)["events"][0]["event"] == "ExecutableChanged"
    assert answer("status", cwd=server.folder)["changed"] == []


def test_import_of_more_than_the_server_takes(folder: Path, tmp_path: Path) -> None:
    """It is told, and the others come all the same: in one request or in several it may be too much."""
    source = tmp_path / "source"
    source.mkdir()
    for name, size in (("a", 1), ("b", 7_000_000), ("c", 1), ("d", 6_000_000), ("e", 1)):
        (source / name).write_bytes(bytes(size))
    for limit, taken in ((6_500_000, ["a", "c", "d", "e"]), (1_000_000, ["a", "c", "e"])):
        with serving(folder, "--max-body-size", str(limit)):
            report = answer("import", source, "--to", f"{limit}", cwd=folder)
        left = sorted({"b", "d"} - set(taken))
        assert [one["path"] for one in report["skipped"]] == left
        assert {one["reason"] for one in report["skipped"]} == {
            "larger than the server takes (--max-body-size)"
        }
        assert (report["files"], sorted(os.listdir(folder / f"{limit}"))) == (len(taken), taken)


@pytest.mark.parametrize("runs", [True, False])
def test_import_writes_through_no_link(folder: Path, tmp_path: Path, runs: bool) -> None:
    """Nor does it put one aside, which programs would miss."""
    source, outside = tmp_path / "source", tmp_path / "outside"
    (source / "data").mkdir(parents=True)
    outside.mkdir()
    for name in ("a", "data/b", "c"):
        (source / name).write_text(name)
    (folder / "to").mkdir()
    (folder / "to" / "data").symlink_to(outside)
    (folder / "to" / "c").symlink_to(folder / "a.txt")
    with serving(folder) as server:
        if not runs:
            server.stop()
        report = answer("import", source, "--to", "to", cwd=folder)
        assert (report["files"], report["directories"]) == (1, 0)
        reasons = {one["path"]: one["reason"] for one in report["skipped"]}
        assert reasons.pop("data/b")  # a server says that there is no such directory
        assert reasons == {
            "data": LINKED.format("to/data", "to nothing that can be seen here"),
            "c": LINKED.format("to/c", "to a.txt; write there"),
        }
        for into in ("to/data", "to/data/deeper"):
            refused = evstore("import", source, "--to", into, cwd=folder)
            told = "to/data is a symbolic link: nothing is written through links."
            assert (refused.returncode, refused.stderr) == (1, f"Error: {told}\n")
    assert sorted(os.listdir(folder / "to")) == ["a", "c", "data"]
    assert (folder / "to" / "data").is_symlink() and (folder / "to" / "c").is_symlink()
    assert os.listdir(outside) == []


def test_a_backup_while_it_writes(server: Served, tmp_path: Path) -> None:
    """The copy is a prefix of the log: what was acknowledged before the copy began is in it."""
    acknowledged: list[int] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            server.save(f"w{number % 7}.txt", f"{number}\n" * 200)
            acknowledged.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(3):
            before = len(acknowledged)
            copy = tmp_path / f"{turn}.db"
            told = answer("backup", copy, cwd=server.folder)
            assert told["problems"] == []
            saves = answer(
                "log", "--event", "FileSaved", "--actor", "token", "-n", 100_000, "--db", copy, cwd=tmp_path
            )
            assert before <= len(saves["events"]) <= len(acknowledged) + 1
            assert saves["head"] == told["offset"]
    finally:
        stop.set()
        writer.join()
    assert len(acknowledged) > 3


def test_a_server_that_only_takes_passwords(folder: Path) -> None:
    with serving(folder, "--token", "", "--password", "secret"):
        refused = evstore("restore", "a.txt", "--at", 9, cwd=folder)
    assert refused.returncode == 1
    assert "it was started with --token ''" in refused.stderr
