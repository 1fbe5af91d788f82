"""A database opened for reading only, as the command line does while a server may be writing it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evstore.core.errors import ReadOnly
from evstore.log.engine.base import Load, T, Tx
from evstore.log.engine.sqlite.connections import SqliteTx, connect_reader


class SqliteReader:
    """An Engine that only reads: one connection on one thread. It takes no lock and changes no file."""

    def __init__(self, path: Path, *, mapped: bool = True) -> None:
        """`mapped`: see `connect_reader`. Raises DatabaseError when the file is no database."""
        self._connection = connect_reader(path, mapped=mapped)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evstore-reader")

    async def write(
        self, command: Callable[[Tx], T], *, weight: int = 0, committed: Callable[[T], None] | None = None
    ) -> T:
        raise ReadOnly("The log was opened for reading only.")

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.query, query)

    def query(self, query: Callable[[Tx], T]) -> T:
        """`read` without an event loop, on the caller's thread."""
        self._connection.execute("begin")
        try:
            return query(SqliteTx(self._connection))
        finally:
            self._connection.execute("rollback")

    def load(self) -> Load:
        return Load()

    async def close(self) -> None:
        await asyncio.to_thread(self.shut)

    def shut(self) -> None:
        """`close` without an event loop."""
        self._thread.shutdown()
        self._connection.close()
