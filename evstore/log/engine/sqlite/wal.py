"""The write-ahead log of an SQLite database, which is moved into the database now and then.

Only the writer does that (SQLite before 3.51.3 can lose commits otherwise, https://sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Generator
from pathlib import Path

from evstore.core.units import MIB

logger = logging.getLogger(__name__)

WAL_SOFT, WAL_HARD = 16 * MIB, 256 * MIB  # bytes: checkpoint when idle; make readers wait
WAL_STEP = 4 * MIB  # bytes that it grows before the next try, when readers held the last one back
WAL_PATIENCE = 100  # ms that a writer waits for readers to let go of a WAL beyond WAL_HARD


class Wal:
    """The WAL of one connection, which writes."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """`path` is the WAL's own."""
        self._path = path
        self._connection = connection
        self._due = WAL_SOFT  # bytes of the file at which it is moved

    def checkpoint(self, *, idle: bool) -> None:
        """Move the WAL into the database, between batches, on the only connection that may.

        The file keeps its size when its content has been moved, and is written from its start
        again; so what counts is whether it has grown since.
        """
        try:
            size = os.stat(self._path).st_size
        except OSError:  # the next write will tell what is wrong
            return
        if size <= WAL_SOFT:  # SQLite has begun it anew, and cut it to journal_size_limit
            self._due = WAL_SOFT
        if size <= self._due or not (idle or size > 4 * WAL_SOFT):
            return
        self._due = size + WAL_STEP
        try:
            if size > WAL_HARD:
                with self._patience(WAL_PATIENCE):
                    self._connection.execute("pragma wal_checkpoint(restart)").fetchall()
            else:
                self._connection.execute("pragma wal_checkpoint(passive)").fetchall()
        except sqlite3.Error as error:  # of whatever kind: if the writer ended here, nobody would be answered
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
