"""Connections to an SQLite database, one that writes and those that only read, and the transactions on them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from evstore.core.errors import DatabaseError
from evstore.log.engine.base import Parameters, Row
from evstore.log.engine.sqlite.files import sync
from evstore.log.engine.sqlite.wal import WAL_SOFT

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
"""
MAPPED = "pragma mmap_size = 268435456"


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


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; makes the file if there is none. Raises DatabaseError when it is no database."""
    new = not path.exists() or path.stat().st_size == 0
    if new:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if new:
            connection.execute("pragma page_size = 8192")
        connection.executescript(WRITER_PRAGMAS)
        connection.execute("select count(*) from sqlite_master").fetchall()
        if new:
            sync(path.parent)  # SQLite syncs the file, not the directory it was made in
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path} is not an evstore database ({error}).") from error
    return connection


def connect_reader(path: Path, *, mapped: bool = True) -> sqlite3.Connection:
    """A connection that can't write. `mapped`: it sees the file in its memory, which is quick for large bodies.

    But SQLite maps it anew after each commit, which is not for who reads a little after each. Raises DatabaseError when the file can't be read as a database."""
    if not path.is_file():
        raise DatabaseError(f"There is no database at {path}.")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.executescript(READER_PRAGMAS)
        if mapped:
            connection.execute(MAPPED)
        connection.execute("select count(*) from sqlite_master").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: damaged names of tables
        raise DatabaseError(f"{path} is not an evstore database ({error}).") from error
    return connection
