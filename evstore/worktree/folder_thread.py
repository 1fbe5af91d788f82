"""The one thread on which all is done that touches the disk, and who may use it when.

A *turn* is the time in which nobody else changes what is known of the disk. What is done in a turn is done to its
end, also when who waits for it has gone: otherwise something would be on the disk, or in the log, and not be known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from evstore.core.errors import EvstoreError, Stopping
from evstore.log.engine.base import Tx
from evstore.log.engine.sqlite.reader import SqliteReader

logger = logging.getLogger(__name__)

T = TypeVar("T")


class FolderThread:
    """A thread with a read connection to the log of its own."""

    def __init__(self, db: Path) -> None:
        """Raises DatabaseError."""
        self.lock = asyncio.Lock()
        self._reader = SqliteReader(db, mapped=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evstore-folder")
        self._tasks: set[asyncio.Task[Any]] = set()
        self.are_over = False  # nobody else gets one

    async def run(self, work: Callable[[Tx], T]) -> T:
        """Do `work` on the thread, which sees the log as it is now."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.query, work)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, which takes turns; nobody waits for it."""
        self._task(work).add_done_callback(_report)

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, which takes turns, to its end, even when the caller is cancelled meanwhile. Raises Stopping."""
        if self.are_over:
            work.close()
            raise Stopping
        task = self._task(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)  # nobody else hears of it any more
            raise

    async def close(self) -> None:
        """Wait for what has begun, then end the thread."""
        await self.rest()
        await asyncio.to_thread(self._thread.shutdown)
        self._reader.shut()

    async def rest(self) -> None:
        """Wait for what has begun."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))


def _report(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, EvstoreError):
        logger.info("What nobody waits for any more has failed: %s", error.message)
    elif error is not None:
        logger.error("What keeps the folder in line with the log has failed", exc_info=error)
