"""What any engine promises: all or nothing, alone in failing, durable when answered, honest when the disk is not."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from evstore.core.errors import Busy, Full, Invalid, ReadOnly
from evstore.log.engine.base import Tx
from evstore.log.engine.sqlite import engine as engine_module
from evstore.log.engine.sqlite import wal as wal_module
from evstore.log.engine.sqlite.connections import connect_reader
from evstore.log.engine.sqlite.engine import SqliteEngine


@pytest_asyncio.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    opened = SqliteEngine.open(tmp_path / "data.db")
    await opened.write(lambda tx: tx.script("create table t (x integer primary key, y blob);"))
    yield opened
    await opened.close()


def insert(x: int):
    return lambda tx: tx.execute("insert into t values (?, null)", (x,))


def numbers(tx: Tx) -> list[int]:
    return [row[0] for row in tx.rows("select x from t order by x")]


async def test_commands_run_in_the_order_of_their_calls(engine: SqliteEngine) -> None:
    order: list[int] = []
    await asyncio.gather(*(engine.write(lambda tx, x=x: order.append(x)) for x in range(500)))
    assert order == list(range(500))


async def test_a_command_that_fails_fails_alone_and_leaves_nothing(engine: SqliteEngine) -> None:
    """Invariant 5."""

    def fail(tx: Tx) -> None:
        tx.execute("insert into t values (1000, null)")
        raise Invalid("no")

    async def attempt(x: int) -> str:
        try:
            await engine.write(fail if x % 3 == 0 else insert(x))
        except Invalid:
            return "refused"
        return "done"

    outcomes = await asyncio.gather(*(attempt(x) for x in range(60)))
    assert outcomes.count("refused") == 20
    assert await engine.read(numbers) == [x for x in range(60) if x % 3]


async def test_a_broken_constraint_is_the_affair_of_its_command(engine: SqliteEngine) -> None:
    results = await asyncio.gather(*(engine.write(insert(x)) for x in (1, 1, 2)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["int", "IntegrityError", "int"]
    assert await engine.read(numbers) == [1, 2]


async def test_what_was_gathered_is_committed_together(engine: SqliteEngine) -> None:
    started, go = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        started.set()
        assert go.wait(10)

    first = asyncio.create_task(engine.write(wait))
    await asyncio.to_thread(started.wait, 10)
    changes: list[int] = []
    rest = [asyncio.create_task(engine.write(lambda tx: changes.append(len(numbers(tx))))) for _ in range(5)]
    rest.append(asyncio.create_task(engine.write(insert(7))))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *rest)
    assert changes == [0] * 5
    assert await engine.read(numbers) == [7]


async def test_a_caller_who_goes_away_does_not_undo_what_was_written(engine: SqliteEngine) -> None:
    task = asyncio.create_task(engine.write(insert(5)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await engine.write(insert(6))
    assert await engine.read(numbers) == [5, 6]


async def test_a_reader_sees_one_moment(engine: SqliteEngine) -> None:
    reading, go = threading.Event(), threading.Event()

    def look_twice(tx: Tx) -> tuple[list[int], list[int]]:
        before = numbers(tx)
        reading.set()
        assert go.wait(10)
        return before, numbers(tx)

    task = asyncio.create_task(engine.read(look_twice))
    await asyncio.to_thread(reading.wait, 10)
    await engine.write(insert(1))
    go.set()
    assert await task == ([], [])
    assert await engine.read(numbers) == [1]


async def test_readers_cannot_write(engine: SqliteEngine) -> None:
    with pytest.raises(Exception, match="attempt to write a readonly"):
        await engine.read(insert(1))


async def test_too_much_in_the_queue_is_busy(engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAX_WAITING", 3)
    tasks = [asyncio.create_task(engine.write(insert(x))) for x in range(10)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["int"] * 3 + ["Busy"] * 7
    assert await engine.read(numbers) == [0, 1, 2]
    monkeypatch.setattr(engine_module, "MAX_WAITING_BYTES", 100)
    heavy = [asyncio.create_task(engine.write(insert(x), weight=80)) for x in (10, 11)]
    results = await asyncio.gather(*heavy, return_exceptions=True)
    assert isinstance(results[1], Busy)


async def test_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room(engine: SqliteEngine) -> None:
    """Invariant 4."""
    await engine.write(insert(1))
    (pages,) = await engine.write(lambda tx: tx.row("pragma page_count") or (0,))
    await engine.write(lambda tx: tx.rows(f"pragma max_page_count = {pages + 2}"))
    with pytest.raises(Full):
        await engine.write(lambda tx: tx.execute("insert into t values (2, zeroblob(1000000))"))
    assert await engine.read(numbers) == [1]
    await engine.write(lambda tx: tx.rows("pragma max_page_count = 1000000"))
    await engine.write(lambda tx: tx.execute("insert into t values (3, zeroblob(1000000))"))
    assert await engine.read(numbers) == [1, 3]


INSERT_BYTES = "insert into t (y) values (zeroblob(?))"


async def test_the_wal_is_moved_when_it_has_grown_and_not_with_each_commit(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    path, wal = tmp_path / "data.db", tmp_path / "data.db-wal"
    while path.stat().st_size < wal_module.WAL_SOFT:
        await engine.write(lambda tx: tx.execute(INSERT_BYTES, (1_000_000,)))
        # at 2 when the writer is idle in between, else at 4
        assert wal.stat().st_size < 5 * wal_module.WAL_SOFT
    moved = path.stat().st_mtime_ns
    for _ in range(5):
        await engine.write(lambda tx: tx.execute(INSERT_BYTES, (1000,)))
    assert path.stat().st_mtime_ns == moved
    assert wal.stat().st_size >= wal_module.WAL_SOFT  # reused, not made anew


async def test_a_reader_that_stays_sees_its_moment_while_the_wal_grows_beyond_its_limit(
    engine: SqliteEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "WAL_SOFT", 100_000)
    monkeypatch.setattr(wal_module, "WAL_STEP", 100_000)
    monkeypatch.setattr(wal_module, "WAL_HARD", 200_000)
    reader = connect_reader(tmp_path / "data.db")
    reader.execute("begin")
    assert reader.execute("select count(*) from t").fetchone() == (0,)
    for _ in range(10):
        await engine.write(lambda tx: tx.execute(INSERT_BYTES, (100_000,)))
    assert reader.execute("select count(*) from t").fetchone() == (0,)
    assert len(await engine.read(numbers)) == 10
    reader.close()


FAILING_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from evstore.log.engine.sqlite.engine import SqliteEngine
from evstore.core.errors import ReadOnly

async def main(path):
    engine = SqliteEngine.open(path)
    await engine.write(lambda tx: tx.script("create table t (x integer primary key, y blob);"))
    await engine.write(lambda tx: tx.execute("insert into t values (1, null)"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20000, resource.RLIM_INFINITY))  # write(2) fails with EFBIG
    outcomes = []
    for x in (2, 3):
        try:
            await engine.write(lambda tx: tx.execute("insert into t values (?, zeroblob(100000))", (x,)))
            outcomes.append("written")
        except ReadOnly:
            outcomes.append("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        await engine.write(lambda tx: tx.execute("insert into t values (4, null)"))
    except ReadOnly as error:
        outcomes.append(error.message)
    print(await engine.read(lambda tx: tx.rows("select x from t")), *outcomes)
    await engine.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_after_the_disk_failed_nothing_is_written_until_a_restart(tmp_path: Path) -> None:
    """What the disk holds after a failed fsync is not known: reads go on, writes end (fsync failures, ATC'20). Invariant 4."""
    path = tmp_path / "data.db"
    done = subprocess.run(
        [sys.executable, "-c", FAILING_DISK, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("[(1,)] refused refused The disk failed"), done.stdout + done.stderr

    async def reopened() -> list[int]:
        engine = SqliteEngine.open(path)
        await engine.write(insert(9))
        found = await engine.read(numbers)
        await engine.close()
        return found

    assert asyncio.run(reopened()) == [1, 9]


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    engine = SqliteEngine.open(tmp_path / "data.db")
    await engine.write(lambda tx: tx.script("create table t (x integer primary key, y blob);"))
    tasks = [asyncio.create_task(engine.write(insert(x))) for x in range(50)]
    await asyncio.sleep(0)
    await engine.close()
    await asyncio.gather(*tasks)
    with pytest.raises(ReadOnly):
        await engine.write(insert(99))
    again = SqliteEngine.open(tmp_path / "data.db")
    assert await again.read(numbers) == list(range(50))
    await again.close()


async def test_what_was_committed_is_told_even_when_the_caller_has_gone(engine: SqliteEngine) -> None:
    told: list[int] = []
    task = asyncio.create_task(engine.write(insert(5), committed=told.append))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await engine.write(insert(6), committed=told.append)
    assert told == [1, 1]


@pytest.mark.parametrize("lost", ["data.db", "data.db-wal"])
async def test_nothing_is_written_to_a_file_that_is_not_there_any_more(tmp_path: Path, lost: str) -> None:
    engine = SqliteEngine.open(tmp_path / "data.db")
    await engine.write(lambda tx: tx.script("create table t (x integer primary key, y blob);"))
    (tmp_path / lost).rename(tmp_path / "elsewhere")
    for x in (1, 2):
        with pytest.raises(ReadOnly, match="moved or deleted"):
            await engine.write(insert(x))
    await engine.close()


async def test_whatever_a_command_raises_those_behind_it_are_answered(engine: SqliteEngine) -> None:
    def stop(tx: Tx) -> None:
        raise StopIteration

    first, second = asyncio.create_task(engine.write(stop)), asyncio.create_task(engine.write(insert(1)))
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(first, 5)
    await asyncio.wait_for(second, 5)
    assert await engine.read(numbers) == [1]


async def test_a_listener_that_fails_leaves_nobody_waiting(
    engine: SqliteEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: int) -> None:
        raise ValueError("a listener's own bug")

    first = asyncio.create_task(engine.write(insert(1), committed=fail))
    second = asyncio.create_task(engine.write(insert(2)))
    assert await asyncio.wait_for(asyncio.gather(first, second), 10) == [1, 1]
    assert "a listener's own bug" in caplog.text


class Refusing:
    """A connection that can't do some things."""

    def __init__(self, connection: sqlite3.Connection, *refused: str) -> None:
        self._connection = connection
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if sql in self._refused:
            raise sqlite3.DatabaseError(f"{sql} is refused")
        return self._connection.execute(sql, *more)


async def test_what_fails_between_two_commits_leaves_nobody_waiting(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "WAL_SOFT", 0)
    connection = engine._wal._connection
    monkeypatch.setattr(engine._wal, "_due", 0)
    monkeypatch.setattr(engine._wal, "_connection", Refusing(connection, "pragma wal_checkpoint(passive)"))
    for x in range(3):
        await asyncio.wait_for(engine.write(insert(x)), 30)
    assert await engine.read(numbers) == [0, 1, 2]


async def test_what_can_not_be_undone_is_the_last(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as refusing:
        refusing.setattr(engine, "_connection", Refusing(engine._connection, "commit", "rollback"))
        with pytest.raises(sqlite3.DatabaseError):
            await asyncio.wait_for(engine.write(insert(1)), 30)
        with pytest.raises(ReadOnly):
            await asyncio.wait_for(engine.write(insert(2)), 30)
    assert not engine.load().is_writable
    assert await engine.read(numbers) == []
