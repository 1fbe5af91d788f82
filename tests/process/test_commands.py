"""Each command on a log that nobody else uses, for people and for programs."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.process.commands import answer, done, evstore, log_of
from tests.process.conftest import DATE, NOTEBOOK


def test_log(folder: Path) -> None:
    told = answer("log", cwd=folder)
    assert told["head"] == 12
    assert [event["offset"] for event in told["events"]] == list(range(12, 0, -1))
    newest, oldest = told["events"][0], told["events"][-1]
    assert (newest["event"], newest["path"], newest["actor"]) == ("FileSaved", "sub/raw.bin", "import")
    assert (oldest["event"], oldest["path"], oldest["data"]["kind"]) == ("EntryCreated", "a.txt", "file")


@pytest.mark.parametrize(
    ("arguments", "offsets"),
    [
        ("a.txt", [10, 2, 1]),
        ("./sub/../a.txt", [10, 2, 1]),
        ("sub", [12, 9, 8, 7, 6, 5]),
        ("/ --limit 2", [12, 11]),
        ("--event EntryCreated", [8, 6, 5, 3, 1]),
        ("--event FileSaved --actor import -n 1", [12]),
        ("--actor nobody", []),
    ],
)
def test_log_of_a_part(folder: Path, arguments: str, offsets: list[int]) -> None:
    events = answer("log", *arguments.split(), cwd=folder)["events"]
    assert [event["offset"] for event in events] == offsets


def test_log_for_people(folder: Path) -> None:
    lines = done("log", "a.txt", cwd=folder).splitlines()
    assert lines[0].split() == ["Offset", "Time", "Actor", "Event", "Path"]
    assert lines[1].split()[0] == "10"
    assert lines[1].split()[3:] == ["import", "FileSaved", "a.txt", "8", "bytes"]
    assert len(lines) == 4


def test_a_name_can_not_command_the_terminal(folder: Path) -> None:
    (folder / "red\x1b[31m\n.txt").write_text("")
    done("import", ".", cwd=folder)
    assert "red\\x1b[31m\\n.txt" in done("show", cwd=folder)
    assert "\x1b" not in done("log", cwd=folder)


def test_nor_can_one_in_a_complaint(folder: Path, tmp_path: Path) -> None:
    (folder / "\x1b[2Jx").write_text("x")
    done("import", ".", cwd=folder)
    (tmp_path / "out" / "\x1b[2Jx").mkdir(parents=True)
    result = evstore("export", tmp_path / "out", "--force", cwd=folder)
    told = f"{tmp_path / 'out'}/\\x1b[2Jx is in the way: a file has to go there."
    assert (result.returncode, result.stderr) == (1, f"Error: {told}\n")


def test_json_with_a_name_that_is_no_text(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "\udcff.db"
    assert answer("backup", copy, cwd=folder)["target"] == str(copy)


def test_log_follows_renames(folder: Path) -> None:
    done("restore", "/", "--at", 9, cwd=folder)
    done("import", "sub", "--to", "copy/of", cwd=folder)
    events = answer("log", "copy", cwd=folder)["events"]
    assert {event["path"] for event in events} == {"copy", "copy/of", "copy/of/b.txt", "copy/of/raw.bin"}


def test_show_prints_the_bytes(folder: Path) -> None:
    assert done("show", "a.txt", cwd=folder) == "one\ntwo\n"
    assert done("show", "a.txt", "--at", 9, cwd=folder) == "one\n"
    assert done("show", "n.ipynb", cwd=folder) == NOTEBOOK % "1 + 2"


def test_show_of_bytes_that_are_no_text(folder: Path) -> None:
    command = [sys.executable, "-m", "evstore", "show", "sub/raw.bin"]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout == b"\xff\x00\xfe\x01"
    model = answer("show", "sub/raw.bin", "--at", 9, cwd=folder)
    assert (model["format"], base64.b64decode(model["content"])) == ("base64", b"\xff\x00\xfe")
    assert (model["offset"], model["writable"]) == (9, False)


def test_show_of_a_folder(folder: Path) -> None:
    assert [line.split()[-1] for line in done("show", cwd=folder).splitlines()] == [
        "Name",
        "a.txt",
        "n.ipynb",
        "sub/",
    ]
    members = answer("show", "--at", 6, cwd=folder)["content"]
    assert [(member["path"], member["type"]) for member in members] == [
        ("a.txt", "file"),
        ("n.ipynb", "notebook"),
        ("sub", "directory"),
    ]


@pytest.mark.parametrize(
    ("moment", "code", "says"),
    [
        ("now", 0, ""),
        ("2 hours ago", 1, "Error: at is before the beginning"),
        ("yesterday 10:00", 1, "Error: at is before the beginning"),
        ("when it was good", 2, "is not a moment"),
    ],
)
def test_moments_in_words(folder: Path, moment: str, code: int, says: str) -> None:
    result = evstore("show", "--at", moment, cwd=folder)
    assert result.returncode == code
    assert says in result.stderr


def test_a_time_without_zone_is_local(folder: Path) -> None:
    newest = answer("log", "-n", 1, cwd=folder)["events"][0]["at"]
    utc = datetime.fromisoformat(newest)
    tokyo = datetime.fromtimestamp(utc.timestamp() + 9 * 3600, UTC).replace(tzinfo=None)
    result = evstore("show", "a.txt", "--at", tokyo.isoformat(), cwd=folder, TZ="Asia/Tokyo")
    assert (result.returncode, result.stdout) == (0, "one\ntwo\n")
    early = evstore("show", "a.txt", "--at", tokyo.isoformat(), cwd=folder, TZ="America/New_York")
    assert "in the future" in early.stderr


def test_diff_of_text(folder: Path) -> None:
    text = "--- a.txt@9\n+++ a.txt@12\n@@ -1 +1,2 @@\n one\n+two\n"
    assert done("diff", "a.txt", "--from", 9, cwd=folder) == text
    assert answer("diff", "a.txt", "--from", 9, cwd=folder) == {"format": "unified", "diff": text}
    assert done("diff", "a.txt", "--from", 2, "--to", 9, cwd=folder) == ""


def test_diff_of_a_notebook(folder: Path) -> None:
    lines = done("diff", "n.ipynb", "--from", 9, cwd=folder).splitlines()
    assert lines[:3] == ["--- n.ipynb@9", "+++ n.ipynb@12", "## modified /cells/0/source:"]
    assert {"-  1 + 1", "+  1 + 2"} <= set(lines)
    assert answer("diff", "n.ipynb", "--from", 9, cwd=folder)["format"] == "nbdime"


def test_diff_of_bytes(folder: Path) -> None:
    assert done("diff", "sub/raw.bin", "--from", 9, cwd=folder) == (
        "sub/raw.bin@9 and sub/raw.bin@12 differ; they are no text.\n"
    )


def test_restore(folder: Path) -> None:
    told = done("restore", "/", "--at", 9, "--dry-run", cwd=folder)
    assert told.splitlines() == [
        "restore   a.txt",
        "restore   n.ipynb",
        "restore   sub/raw.bin",
        "3 changes would be made.",
    ]
    assert answer("log", cwd=folder)["head"] == 12
    made = answer("restore", "a.txt", "--at", 9, cwd=folder)
    assert made == {"offset": 13, "changes": [{"action": "restore", "path": "a.txt"}]}
    assert done("show", "a.txt", cwd=folder) == "one\n"
    assert done("restore", "a.txt", "--at", 9, cwd=folder) == "Nothing to do: it is so already.\n"
    assert answer("log", "-n", 1, cwd=folder)["events"][0]["actor"] == "cli"


def test_deleted_and_undelete(folder: Path) -> None:
    done("restore", "/", "--at", 4, cwd=folder)  # before `sub` was there
    (gone,) = answer("deleted", cwd=folder)["deleted"]
    assert (gone["path"], gone["kind"], gone["actor"]) == ("sub", "directory", "cli")
    assert done("deleted", cwd=folder).splitlines()[1].split()[-2:] == ["sub", gone["entry"]]
    assert done("undelete", "sub", cwd=folder) == "It is at sub again.\n"
    assert done("show", "sub/b.txt", cwd=folder) == "below\n"
    done("restore", "/", "--at", 4, cwd=folder)
    assert answer("undelete", gone["entry"], "--to", "elsewhere", cwd=folder) == {"path": "elsewhere"}
    assert done("show", "elsewhere/b.txt", cwd=folder) == "below\n"


def test_undelete_out_of_a_folder_that_was_deleted(folder: Path) -> None:
    done("restore", "/", "--at", 4, cwd=folder)  # before there was sub
    assert [one["path"] for one in answer("deleted", cwd=folder)["deleted"]] == ["sub"]
    result = evstore("undelete", "sub/b.txt", cwd=folder)
    told = "The folder sub is gone as well: undelete that, with all that was in it, or say with --to where b.txt shall be."
    assert (result.returncode, result.stderr) == (1, f"Error: {told}\n")
    assert answer("undelete", "sub/b.txt", "--to", "back.txt", cwd=folder) == {"path": "back.txt"}
    assert done("show", "back.txt", cwd=folder) == "below\n"
    assert [one["event"] for one in answer("log", "back.txt", cwd=folder)["events"]] == [
        "EntryUndeleted",
        "FileSaved",
        "EntryCreated",
    ]
    assert evstore("undelete", "sub/b.txt", "--to", "again.txt", cwd=folder).returncode == 1
    assert done("undelete", "sub", cwd=folder) == "It is at sub again.\n"
    assert done("show", "sub/raw.bin", "--json", cwd=folder)
    assert evstore("show", "sub/b.txt", cwd=folder).returncode == 1
    assert done("verify", cwd=folder).startswith("All is well")


def test_export_is_byte_for_byte_and_has_the_dates(folder: Path, tmp_path: Path) -> None:
    told = done("export", tmp_path / "now", cwd=folder)
    names = ("a.txt", "n.ipynb", "sub/b.txt", "sub/raw.bin")
    size = sum((folder / name).stat().st_size for name in names)
    assert told == f"Wrote 4 files and 1 folder ({size} bytes) as of offset 12 to {tmp_path / 'now'}.\n"
    for name in names:
        original, written = folder / name, tmp_path / "now" / name
        assert written.read_bytes() == original.read_bytes()
        assert written.stat().st_mtime == original.stat().st_mtime
    then = answer("export", tmp_path / "then", "--at", 9, cwd=folder)
    assert (then["offset"], then["files"], then["directories"]) == (9, 4, 1)
    assert (tmp_path / "then" / "sub" / "raw.bin").read_bytes() == b"\xff\x00\xfe"
    assert (tmp_path / "then" / "sub" / "raw.bin").stat().st_mtime == DATE + 180


def test_export_of_a_part(folder: Path, tmp_path: Path) -> None:
    done("export", tmp_path / "sub", "--path", "sub", cwd=folder)
    assert sorted(os.listdir(tmp_path / "sub")) == ["b.txt", "raw.bin"]
    done("export", tmp_path / "one", "--path", "sub/b.txt", "--at", 9, cwd=folder)
    assert os.listdir(tmp_path / "one") == ["b.txt"]


def test_export_does_not_follow_links(folder: Path, tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (target / "a.txt").symlink_to(outside / "precious")
    done("export", target, "--path", "a.txt", "--force", cwd=folder)
    assert (outside / "precious").read_text() == "mine"
    assert (target / "a.txt").read_text() == "one\ntwo\n"
    (target / "sub").symlink_to(outside)
    result = evstore("export", target, "--force", cwd=folder)
    assert (result.returncode, result.stderr) == (
        1,
        f"Error: {target / 'sub'} is in the way: a folder has to go there.\n",
    )
    assert os.listdir(outside) == ["precious"]


def test_backup_is_a_log_of_its_own(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert answer("backup", copy, cwd=folder) == {"target": str(copy), "offset": 12, "problems": []}
    assert copy.stat().st_mode & 0o777 == 0o600
    done("restore", "a.txt", "--at", 9, cwd=folder)
    assert answer("log", "--db", copy, cwd=tmp_path)["head"] == 12
    assert "copy.db holds the log up to offset 13" in done("backup", copy, "--force", cwd=folder)
    log_of(folder).unlink()
    copy.rename(log_of(folder))
    assert done("show", "a.txt", cwd=folder) == "one\n"
    assert done("verify", cwd=folder).startswith("All is well: 13 events, 7 bodies, ")


def test_a_backup_takes_no_place_to_which_a_write_ahead_log_belongs(folder: Path, tmp_path: Path) -> None:
    """SQLite would put the pages in it into the copy."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"what was there")
    for suffix in ("-wal", "-journal"):
        rest = tmp_path / f"copy.db{suffix}"
        rest.write_bytes(b"pages")
        for there in (True, False):
            if not there:
                copy.unlink()
            result = evstore("backup", copy, "--force", cwd=folder)
            told = f"{rest} belongs to a log that is in use, or that a crash has left. Take another name for the copy."
            assert (result.returncode, result.stderr) == (1, f"Error: {told}\n")
            assert copy.exists() == there
        rest.unlink()
        copy.write_bytes(b"what was there")
    done("backup", copy, "--force", cwd=folder)
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "folder"]


def test_export_changes_nothing_when_something_is_in_the_way(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "sub" / "raw.bin").mkdir(parents=True)
    (target / "a.txt").write_text("mine")
    result = evstore("export", target, "--force", cwd=folder)
    told = f"{target / 'sub' / 'raw.bin'} is in the way: a file has to go there."
    assert (result.returncode, result.stderr) == (1, f"Error: {told}\n")
    assert os.listdir(target / "sub") == ["raw.bin"]
    assert (target / "a.txt").read_text() == "mine"


def test_verify_and_rebuild(folder: Path) -> None:
    verdict = answer("verify", cwd=folder)
    assert (verdict["events"], verdict["bodies"], verdict["problems"]) == (12, 7, [])
    assert verdict["chunks"] >= 7
    assert done("rebuild", cwd=folder) == "Every table is made anew from the log, up to offset 12.\n"
    assert answer("rebuild", cwd=folder) == {"offset": 12}
    assert done("show", "sub/b.txt", cwd=folder) == "below\n"


def test_the_folder_and_the_log_may_be_anywhere(folder: Path, tmp_path: Path) -> None:
    assert answer("log", "--folder", folder, cwd=tmp_path)["head"] == 12
    assert answer("log", "--db", log_of(folder), cwd=tmp_path)["head"] == 12
    result = evstore("show", "a.txt", cwd=tmp_path, EVSTORE_FOLDER=str(folder))
    assert result.stdout == "one\ntwo\n"


def test_paths_are_those_of_the_shell(folder: Path, tmp_path: Path) -> None:
    """In a folder below, or from anywhere by the whole path; without a path it is the folder where one is."""
    assert done("show", folder / "a.txt", cwd=tmp_path) == "one\ntwo\n"
    assert done("show", "b.txt", cwd=folder / "sub") == "below\n"
    assert {event["path"] for event in answer("log", cwd=folder / "sub")["events"]} == {
        "sub",
        "sub/b.txt",
        "sub/raw.bin",
    }
    assert answer("log", "../a.txt", cwd=folder / "sub") == answer("log", folder / "a.txt", cwd=tmp_path)
    done("restore", "../n.ipynb", "--at", 9, cwd=folder / "sub")
    done("import", tmp_path / "folder" / "sub", "--to", "again", cwd=folder / "sub")
    assert answer("show", cwd=folder)["content"][-1]["path"] == "sub"
    assert done("show", "sub/again/b.txt", cwd=folder) == "below\n"
    assert done("verify", folder, cwd=tmp_path).startswith("All is well")


def test_help_names_every_command_and_none_that_is_not_there() -> None:
    commands = set(
        re.findall(r"^  (\w+) ", done("--help", cwd=Path.cwd()).partition("Commands:")[2], re.MULTILINE)
    )
    assert {
        "serve",
        "log",
        "show",
        "diff",
        "restore",
        "import",
        "export",
        "backup",
        "rebuild",
        "verify",
    } <= commands
    for name in commands:
        told = done(name, "--help", cwd=Path.cwd())
        assert "Usage: evstore" in told
        assert set(re.findall(r"`evstore\s+(\w+)", told)) <= commands
