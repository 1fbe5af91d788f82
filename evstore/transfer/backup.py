"""A copy of the log, made while a server goes on writing it: a prefix of the log, whole and by itself usable."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from evstore.core.errors import Exists, NotFound
from evstore.log import log, schema
from evstore.log.engine.sqlite.connections import SqliteTx, connect_reader
from evstore.log.engine.sqlite.files import sync
from evstore.log.log import Head

PAGES = 2000  # copied between two looks at the progress bar
LEFT = ("-wal", "-journal")  # beside a database: what SQLite would put into whatever takes its place


def backup(db: Path, target: Path, progress: Callable[[int, int], None], *, force: bool) -> Head:
    """Copy the log `db` to the file `target`, and return where the copy ends.

    `progress` gets pages done and pages in all. Raises NotFound without a folder for it, Exists unless `force`,
    and when `target` is a log in use, DatabaseError when `db` is no evstore log.
    """
    _check_target(db, target, force=force)
    made = target.with_name(f"{target.name}.{os.getpid()}")
    os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(connect_reader(db)) as source, closing(sqlite3.connect(made)) as copy:
            # Within one read transaction the source stays as it is: without it, every write of the
            # server would make SQLite begin the copy anew (storage.md 6.2).
            source.execute("begin")
            schema.check(SqliteTx(source))
            source.backup(copy, pages=PAGES, progress=lambda _, left, total: progress(total - left, total))
            copy.execute("pragma journal_mode = delete")  # one file, without a WAL beside it
            end = log.head(SqliteTx(copy))
        sync(made)
        os.replace(made, target)
        sync(target.parent)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    return end


def _check_target(db: Path, target: Path, *, force: bool) -> None:
    if not target.parent.is_dir():
        raise NotFound(f"The folder {target.parent} does not exist.")
    if target.is_dir():
        raise Exists(f"{target} is a folder; give the name of the file that is to be made.")
    if target.exists() and target.samefile(db):
        raise Exists(f"{target} is the log itself; a copy of it needs a file of its own.")
    if target.exists() and not force:
        raise Exists(f"{target} exists already; --force replaces it.")
    for suffix in LEFT:
        rest = target.with_name(target.name + suffix)
        if rest.exists():
            raise Exists(
                f"{rest} belongs to a log that is in use, or that a crash has left. Take another name for the copy."
            )
