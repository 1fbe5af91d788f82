"""SQLite as the engine: group commit on one writer thread, snapshot readers on threads of their own.

The writer takes every command that gathered while the last commit ran, runs them in one
transaction, each in a savepoint, and answers all of them after one fsync: one thread hop
for a batch. Nothing but this connection ever writes or checkpoints the WAL (SQLite before
3.51.3 can lose commits otherwise, https://sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evstore.engine.base import Load, Parameters, Row, T, Tx
from evstore.errors import Busy, DatabaseError, EvstoreError, Full, Locked, ReadOnly

logger = logging.getLogger(__name__)

MAX_BATCH = 256  # commands in one transaction
MAX_WAITING = 4096  # commands in the queue
MAX_WAITING_BYTES = 256 * 1024 * 1024
WAL_SOFT, WAL_HARD = 16 * 1024 * 1024, 256 * 1024 * 1024  # bytes: checkpoint when idle; make readers wait
WAL_STEP = 4 * 1024 * 1024  # bytes that it grows before the next try, when readers held the last one back
WAL_PATIENCE = 100  # ms that a writer waits for readers to let go of a WAL beyond WAL_HARD
READERS = 2

WRITER_PRAGMAS = f"""
pragma journal_mode = wal;
pragma synchronous = full;
pragma wal_autocheckpoint = 0;
pragma journal_size_limit = {WAL_SOFT};
pragma cache_size = -65536;
pragma temp_store = memory;
pragma secure_delete = fast;
pragma trusted_schema = off;
pragma cell_size_check = on;
"""
READER_PRAGMAS = """
pragma query_only = on;
pragma cache_size = -32768;
pragma temp_store = memory;
pragma mmap_size = 268435456;
"""


class SqliteTx:
    """`Tx` over one sqlite3 connection, used by one thread at a time."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        return self._connection.execute(sql, parameters).fetchone()

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        self._connection.executemany(sql, parameters)

    def script(self, sql: str) -> None:
        # not executescript(): that would commit the transaction in progress
        statement = ""
        for line in sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._connection.execute(statement)
                statement = ""


@dataclass(slots=True)
class _Waiting:
    """A command in the queue, and who waits for it."""

    command: Callable[[Tx], Any]
    weight: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    committed: Callable[[Any], None] | None
    result: Any = None
    error: BaseException | None = None


class SqliteEngine:
    """One database file. Open it with `SqliteEngine.open`, close it with `close()`."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
        self._waiting_bytes = 0
        self._commits = self._commands = 0  # of the writer thread
        self._failed: str | None = None  # set once the disk failed at a commit
        self._closing = False
        self._wal_due = WAL_SOFT  # bytes of the WAL file at which it is checkpointed
        self._connection = self._connect_writer()
        self._tx = SqliteTx(self._connection)
        self._files = {file: identity(file) for file in (path.absolute(), Path(f"{path.absolute()}-wal"))}
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="evstore-reader")
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._writer = threading.Thread(target=self._write_forever, name="evstore-writer", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path) -> SqliteEngine:
        """Open or create the database and take the lock that keeps a second writer out.

        Raises Locked when another process has it, DatabaseError when the file is no database.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = take_lock(path)
        try:
            return cls(path, lock)
        except BaseException:
            os.close(lock)
            raise

    def load(self) -> Load:
        return Load(
            commits=self._commits,
            commands=self._commands,
            waiting=self._waiting,
            waiting_bytes=self._waiting_bytes,
            is_writable=not self._failed and not self._closing,
            size=sum(file.stat().st_size for file in self._files if file.exists()),
        )

    # -- writing ---------------------------------------------------------------------

    async def write(
        self, command: Callable[[Tx], T], *, weight: int = 0, committed: Callable[[T], None] | None = None
    ) -> T:
        if self._failed or self._closing:
            raise ReadOnly(self._failed or "The server is stopping.")
        if self._waiting >= MAX_WAITING or (
            self._waiting and self._waiting_bytes + weight > MAX_WAITING_BYTES
        ):
            raise Busy
        loop = asyncio.get_running_loop()
        waiting = _Waiting(command, weight, loop, loop.create_future(), committed)
        self._waiting += 1
        self._waiting_bytes += weight
        self._queue.put(waiting)
        return await waiting.future

    def _write_forever(self) -> None:
        """The writer thread: everything that has gathered, one transaction, one answer."""
        while True:
            batch, more = self._gather()
            if batch:
                self._run(batch)
                for loop in {waiting.loop for waiting in batch}:
                    # closed: nobody waits any more, and what was written stays written
                    with contextlib.suppress(RuntimeError):
                        loop.call_soon_threadsafe(self._answer, [w for w in batch if w.loop is loop])
            if not more:
                break
            self._checkpoint_wal(idle=self._queue.empty())

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Wait for a command, then take all that wait with it; False when it is time to end."""
        batch: list[_Waiting] = []
        block = True
        while len(batch) < MAX_BATCH:
            try:
                waiting = self._queue.get(block)
            except queue.Empty:
                break
            if waiting is None:
                return batch, False
            batch.append(waiting)
            block = False
        return batch, True

    def _run(self, batch: list[_Waiting]) -> None:
        """One transaction. After it each of `batch` has a result or an error."""
        if self._failed:
            for waiting in batch:
                waiting.error = ReadOnly(self._failed)
            return
        try:
            self._connection.execute("begin immediate")
            for waiting in batch:
                self._run_one(waiting, alone=len(batch) == 1)
            if (gone := self._gone()) is not None:
                self._failed = f"{gone} was moved or deleted while evstore was using it. Nothing more is written until it is restarted."
                logger.critical("%s", self._failed)
                raise ReadOnly(self._failed)
            if self._connection.in_transaction:
                self._connection.execute("commit")
            self._commits += 1
            self._commands += len(batch)
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            self._fail(batch, error)

    def _run_one(self, waiting: _Waiting, *, alone: bool) -> None:
        """One command; what it raises is its own affair, unless the disk failed.

        Among others it has a savepoint, for which SQLite copies each page before it changes: hundreds
        of MB for a rebuild. Alone in its transaction it needs none.
        """
        if not alone:
            self._connection.execute("savepoint command")
        try:
            waiting.result = waiting.command(self._tx)
        except Exception as error:
            if isinstance(error, sqlite3.OperationalError) or not self._connection.in_transaction:
                raise
            self._connection.execute("rollback" if alone else "rollback to command")
            # no future takes a StopIteration, and what waits behind it would never be answered
            waiting.error = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        if not alone:
            self._connection.execute("release command")

    def _gone(self) -> Path | None:
        """The file of ours that is no longer where it was. SQLite would go on writing to it, and nobody find it."""
        for path, file in self._files.items():
            try:
                if identity(path) != file:
                    return path
            except FileNotFoundError:
                return path
        return None

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        """The transaction as a whole failed: nothing of `batch` was written."""
        code = getattr(error, "sqlite_errorcode", None)
        answer: Exception = error
        if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            answer = Full()
        elif (
            isinstance(error, sqlite3.OperationalError)
            and code is not None
            and code & 0xFF == sqlite3.SQLITE_IOERR
        ):
            # what the disk holds now is not known (fsync may have dropped pages): stop writing
            self._failed = f"The disk failed while evstore was writing ({error}). Nothing more is written until it is restarted."
            logger.critical("%s", self._failed)
            answer = ReadOnly(self._failed)
        for waiting in batch:
            waiting.error = waiting.error if isinstance(waiting.error, EvstoreError) else answer

    def _answer(self, batch: list[_Waiting]) -> None:
        """Back on the event loop: tell everybody of a batch at once."""
        for waiting in batch:
            self._waiting -= 1
            self._waiting_bytes -= waiting.weight
            if waiting.error is None and waiting.committed is not None:
                try:
                    waiting.committed(waiting.result)
                except Exception:  # a bug of a listener's; what is written must be answered all the same
                    logger.exception("A listener failed on what was committed")
        for waiting in batch:
            if waiting.future.done():  # the client has gone; what was written stays written
                continue
            if waiting.error is not None:
                waiting.future.set_exception(waiting.error)
            else:
                waiting.future.set_result(waiting.result)

    def _checkpoint_wal(self, *, idle: bool) -> None:
        """Move the WAL into the database, between batches, on the only connection that may.

        The file keeps its size when its content has been moved, and is written from its start
        again; so what counts is whether it has grown since.
        """
        try:
            size = os.stat(f"{self._path}-wal").st_size
        except FileNotFoundError:
            return
        if size <= WAL_SOFT:  # SQLite has begun it anew, and cut it to journal_size_limit
            self._wal_due = WAL_SOFT
        if size <= self._wal_due or not (idle or size > 4 * WAL_SOFT):
            return
        self._wal_due = size + WAL_STEP
        try:
            if size > WAL_HARD:
                with self._patience(WAL_PATIENCE):
                    self._connection.execute("pragma wal_checkpoint(restart)").fetchall()
            else:
                self._connection.execute("pragma wal_checkpoint(passive)").fetchall()
        except sqlite3.OperationalError as error:
            logger.warning("The WAL could not be checkpointed (%s); it grows until it can.", error)

    @contextlib.contextmanager
    def _patience(self, ms: int) -> Generator[None]:
        """In the block, wait so long for locks, and not seconds, for others wait for this thread."""
        (before,) = self._connection.execute("pragma busy_timeout").fetchone()
        self._connection.execute(f"pragma busy_timeout = {ms}")
        try:
            yield
        finally:
            self._connection.execute(f"pragma busy_timeout = {before}")

    # -- reading ---------------------------------------------------------------------

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, query)

    def _query(self, query: Callable[[Tx], T]) -> T:
        tx: SqliteTx | None = getattr(self._local, "tx", None)
        if tx is None:
            connection = connect_reader(self._path)
            self._reader_connections.append(connection)
            tx = self._local.tx = SqliteTx(connection)
        tx.execute("begin")
        try:
            return query(tx)
        finally:
            tx.execute("rollback")

    # -- opening and closing ---------------------------------------------------------

    def _connect_writer(self) -> sqlite3.Connection:
        new = not self._path.exists() or self._path.stat().st_size == 0
        if new:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            if new:
                connection.execute("pragma page_size = 8192")
            connection.executescript(WRITER_PRAGMAS)
            connection.execute("select count(*) from sqlite_master").fetchall()
            if new:
                sync_directory(self._path.parent)
        except sqlite3.DatabaseError as error:
            raise DatabaseError(f"{self._path} is not an evstore database ({error}).") from error
        return connection

    async def close(self) -> None:
        """Write what was accepted, checkpoint the WAL, give the lock back."""
        if self._closing:
            return
        self._closing = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._reader_connections:
            connection.close()
        if not self._failed:
            with contextlib.suppress(sqlite3.OperationalError):  # a reader elsewhere holds it back: next time
                self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        self._connection.close()
        os.close(self._lock)


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't write. Raises DatabaseError when the file can't be read as a database."""
    if not path.is_file():
        raise DatabaseError(f"There is no database at {path}.")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.executescript(READER_PRAGMAS)
        connection.execute("select count(*) from sqlite_master").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: damaged names of tables
        raise DatabaseError(f"{path} is not an evstore database ({error}).") from error
    return connection


def identity(path: Path) -> tuple[int, int]:
    """What tells this very file from another of the same name: its device and inode."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def sync_directory(path: Path) -> None:
    """Make a new file's name survive a power cut: SQLite syncs the file, not the directory it was made in."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int:
    """The lock file's descriptor: as long as it is open, no other process writes this database.

    Raises Locked. The lock ends with the process, however it ends.
    """
    descriptor = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        pid = int(holder) if holder.isdecimal() else None
        raise Locked(f"Another evstore (process {pid or 'unknown'}) is using {path}.", pid=pid) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
