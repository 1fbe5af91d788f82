"""What is typed wrongly, or can't be done, is told in one sentence: no traceback, and nothing has changed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evstore.log.engine.sqlite.files import take_lock
from tests.process.commands import evstore, log_of

Damage = Callable[[Path], object]


def execute(db: Path, sql: str) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(sql)
        connection.commit()


def a_newer_log(folder: Path) -> None:
    execute(log_of(folder), "pragma user_version = 99")


def another_database(folder: Path) -> None:
    log_of(folder).unlink()
    execute(log_of(folder), "create table recipes (name text)")


def no_database(folder: Path) -> None:
    log_of(folder).write_text("I am a letter, not a database. " * 100)


def no_log(folder: Path) -> None:
    log_of(folder).unlink()


READING = (
    "log",
    "show a.txt",
    "diff a.txt --from 3",
    "deleted",
    "checkpoints a.txt",
    "verify",
    "export out",
    "backup b.db",
)
WRITING = (
    "restore a.txt --at 2",
    "undelete a.txt",
    "rebuild",
    "import sub --to x",
    "serve --no-browser --port 0",
)
NEWER = "The log was written by a newer evstore (format 99, this one knows 2). Update evstore."
FOREIGN = "The file is a database, but not an evstore log."
NO_DATABASE = "is not an evstore database (file is not a database)."
LOGS = [(a_newer_log, NEWER, command) for command in (*READING, *WRITING)]
LOGS += [
    (damage, sentence, command)
    for damage, sentence in ((another_database, FOREIGN), (no_database, NO_DATABASE))
    for command in ("log", "verify", "restore a.txt --at 2", "serve --no-browser --port 0")
]


def refusal(command: str, folder: Path) -> tuple[int, str]:
    """The exit code of a command that fails, and what it says; it must say it in one sentence."""
    result = evstore(*command.split(), cwd=folder)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr


def content_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("damage", "sentence", "command"), LOGS)
def test_a_log_that_can_not_be_used(folder: Path, damage: Damage, sentence: str, command: str) -> None:
    damage(folder)
    before = content_of(log_of(folder))
    code, said = refusal(command, folder)
    assert code == 1
    assert said.startswith("Error: ")
    assert said.endswith(f"{sentence}\n")
    assert said.count("\n") == 1
    assert content_of(log_of(folder)) == before


@pytest.mark.parametrize("command", [*READING, "restore a.txt --at 2", "undelete a.txt", "rebuild"])
def test_no_log(folder: Path, command: str) -> None:
    no_log(folder)
    code, said = refusal(command, folder)
    assert (code, said) == (
        1,
        f"Error: There is no log at {log_of(folder)}. `evstore serve` begins one; --folder says where to look.\n",
    )
    assert not log_of(folder).exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("serve /does/not/exist", "The folder /does/not/exist does not exist."),
        ("serve a.txt", "The folder a.txt is a file, not a folder."),
        ("log --folder nowhere", "The folder nowhere does not exist."),
        ("log nothing.txt", "There never was a file or directory nothing.txt."),
        ("show nothing.txt", "No such file or directory: nothing.txt"),
        ("show sub/b.txt --at 3", "No such file or directory: sub/b.txt"),
        ("show a.txt --at 13", "at=13 is in the future: the log's last offset is 12."),
        ("show a.txt --at 0", "at is before the beginning: the log's first event came later, at offset 1."),
        (
            "show a.txt --at 1999-12-31",
            "at is before the beginning: the log's first event came later, at offset 1.",
        ),
        ("show a.txt --at 2999-12-31T00:00Z", "at=2999-12-31T00:00:00+00:00 is in the future."),
        ("show a.txt --at -5", "at is before the beginning: the log's first event came later, at offset 1."),
        ("diff sub --from 9", "sub is a directory; only files can be compared."),
        ("diff sub/b.txt --from 4", "sub/b.txt did not exist yet at offset 4."),
        ("restore nothing.txt --at 9", "There was no nothing.txt at offset 9."),
        ("checkpoints nothing.txt", "No such file or directory: nothing.txt"),
        ("undelete a.txt", "Nothing that was deleted was at a.txt; `evstore deleted` lists what was."),
        ("undelete 01234567-89ab-7def-8123-456789abcdef", "There is no entry with that id."),
        ("import nowhere", "The folder nowhere does not exist."),
        ("import a.txt", "The folder a.txt is a file, not a folder."),
        ("import sub --to a.txt", "Not a directory: a.txt is a file."),
        ("export sub", "sub is not empty; with --force, files of the same names in it are replaced."),
        ("export a.txt", "a.txt is a file; a folder is needed to write into."),
        ("export out --path nothing", "No such file or directory: nothing"),
        ("backup a.txt", "a.txt exists already; --force replaces it."),
        ("backup sub", "sub is a folder; give the name of the file that is to be made."),
        ("backup no/copy.db", "The folder no does not exist."),
        (
            "backup sub/../.evstore/log.db --force --folder .",
            "sub/../.evstore/log.db is the log itself; a copy of it needs a file of its own.",
        ),
        ("import sub --to .evstore/x", ".evstore is evstore's own folder: it is not in the log."),
        ("undelete a.txt --to sub/.EVSTORE", "sub/.EVSTORE is evstore's own folder: it is not in the log."),
        ("show .evstore", ".evstore is evstore's own folder: it is not in the log."),
    ],
)
def test_what_can_not_be_done(folder: Path, command: str, sentence: str) -> None:
    before = content_of(log_of(folder))
    assert refusal(command, folder) == (1, f"Error: {sentence}\n")
    assert content_of(log_of(folder)) == before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("link", "link has no versions: it is a symbolic link."),
        ("pipe", "pipe has no versions: it is no regular file."),
        ("way/b.txt", "way/b.txt is reached by the symbolic link way: name it by its own path."),
        ("sub/x.tmp", "sub/x.tmp has no versions: .evstoreignore names it in line 1."),
        (".hidden", ".hidden has no versions: its name begins with a dot, or that of a folder above it."),
        ("new.py", "new.py is on the disk, and not in the log yet: `evstore serve` takes it in."),
    ],
)
@pytest.mark.parametrize(
    "command", ["show", "log", "diff --from 3", "restore --at 3", "undelete", "export out --path"]
)
def test_what_is_on_the_disk_alone(folder: Path, command: str, path: str, says: str) -> None:
    (folder / "link").symlink_to("a.txt")
    (folder / "way").symlink_to("sub")
    os.mkfifo(folder / "pipe")
    (folder / ".evstoreignore").write_text("*.tmp\n")
    for name in ("sub/x.tmp", ".hidden", "new.py"):
        (folder / name).write_text("x")
    assert refusal(f"{command} {path}", folder) == (1, f"Error: {says}\n")


@pytest.mark.parametrize(
    "command",
    [
        "show a.txt --at nonsense",
        "show a.txt --at 2026-13-45",
        "diff a.txt",
        "diff a.txt --from then",
        "restore a.txt",
        "restore --at 3",
        "log --event FileEaten",
        "log --limit 0",
        "log --limit many",
        "serve --port 65536",
        "serve --kernel-transport pigeon",
        "serve --max-body-size 0",
        "serve --base-url a?b",
        "export",
        "eat",
        "verify --faster",
    ],
)
def test_what_can_not_be_understood(folder: Path, command: str) -> None:
    code, said = refusal(command, folder)
    assert code == 2
    assert said.startswith("Usage: evstore")
    assert "\nError: " in said


def test_a_log_that_another_command_writes(folder: Path) -> None:
    """Not a server: there is nobody to ask, so the command says who has it."""
    lock = take_lock(log_of(folder))
    try:
        code, said = refusal("restore a.txt --at 2", folder)
        assert (code, said) == (
            1,
            f"Error: Another evstore (process {os.getpid()}) is using {log_of(folder)}.\n",
        )
        assert evstore("log", cwd=folder).returncode == 0
    finally:
        os.close(lock)


def test_a_place_that_can_not_be_written(folder: Path) -> None:
    code, said = refusal("backup /proc/nothing.db", folder)
    assert code == 1
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
