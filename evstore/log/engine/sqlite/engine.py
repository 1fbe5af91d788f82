"""SQLite as the engine: group commit on one writer thread, snapshot readers on threads of their own.

The writer takes every command that gathered while the last commit ran, runs them in one
transaction, each in a savepoint, and answers all of them after one fsync: one thread hop
for a batch. Nothing but this connection ever writes or checkpoints the WAL (SQLite before
3.51.3 can lose commits otherwise, https://sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evstore.core.errors import Busy, EvstoreError, Full, ReadOnly
from evstore.core.units import MIB
from evstore.log.engine.base import Load, T, Tx
from evstore.log.engine.sqlite.connections import SqliteTx, connect_reader, connect_writer
from evstore.log.engine.sqlite.files import Files, take_lock
from evstore.log.engine.sqlite.wal import Wal

logger = logging.getLogger(__name__)

MAX_BATCH = 256  # commands in one transaction
MAX_WAITING = 4096  # commands in the queue
MAX_WAITING_BYTES = 256 * MIB
READERS = 2


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
        self._connection = connect_writer(path)
        self._tx = SqliteTx(self._connection)
        wal = Path(f"{path.absolute()}-wal")
        self._wal = Wal(wal, self._connection)
        self._files = Files((path.absolute(), wal))
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
            size=self._files.size,
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
            self._wal.checkpoint(idle=self._queue.empty())

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
            if (gone := self._files.gone()) is not None:
                self._failed = f"{gone} was moved or deleted while evstore was using it. Nothing more is written until it is restarted."
                logger.critical("%s", self._failed)
                raise ReadOnly(self._failed)
            if self._connection.in_transaction:
                self._connection.execute("commit")
            self._commits += 1
            self._commands += len(batch)
        except Exception as error:
            self._roll_back()
            self._fail(batch, error)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        except sqlite3.Error as error:  # what is written next would belong to what has failed
            self._failed = f"What failed could not be undone ({error}). Nothing more is written until evstore is restarted."
            logger.critical("%s", self._failed)

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
