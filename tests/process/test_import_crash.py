"""A first start that is killed in the middle is taken up again, and nothing is half there."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from evstore.core.errors import DatabaseError
from evstore.log.engine.sqlite.connections import connect_reader
from evstore.store.integrity import verify
from tests.process.commands import answer, done, log_of, serving, start

FILES = 2500
TRIES = 4  # times that it is killed


def test_killed_while_it_takes_in_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for number in range(FILES):
        path = folder / f"{number % 50}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(number % 900))
    (folder / "large.bin").write_bytes(random.Random(0).randbytes(40_000_000))
    in_the_middle = 0
    for _ in range(TRIES):
        before = events(folder)
        server = start(folder)
        while events(folder) == before and server.process.poll() is None:
            time.sleep(0.005)
        server.process.kill()
        server.process.communicate()
        assert verify(log_of(folder), lambda stage, done, total: None).problems == []
        in_the_middle += 0 < files_in(folder) < FILES + 1
    assert in_the_middle > 0
    with serving(folder) as server:
        assert "Took in" in server.stop()[1]
    assert files_in(folder) == FILES + 1
    done("export", tmp_path / "out", cwd=folder)
    for path in folder.rglob("*"):
        if path.is_file() and ".evstore" not in path.parts:
            written = tmp_path / "out" / path.relative_to(folder)
            assert written.read_bytes() == path.read_bytes()
            assert written.stat().st_mtime_ns // 1000 == path.stat().st_mtime_ns // 1000
    saves = answer("log", "--event", "FileSaved", "-n", 10 * FILES, cwd=folder)["events"]
    assert len(saves) == FILES + 1  # each was taken in once


def events(folder: Path) -> int:
    """How long the log is; 0 when there is none yet."""
    return count(folder, 'select "offset" from head')


def files_in(folder: Path) -> int:
    return count(folder, "select count(*) from entries where kind = 'file'")


def count(folder: Path, sql: str) -> int:
    try:
        with closing(connect_reader(log_of(folder))) as connection:
            return connection.execute(sql).fetchone()[0]
    except (DatabaseError, sqlite3.OperationalError):  # not made yet
        return 0
