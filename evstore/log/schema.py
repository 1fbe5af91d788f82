"""Creating the database and bringing it up to date: numbered .sql files, each applied once."""

from __future__ import annotations

from importlib import resources

from evstore.core.errors import DatabaseError
from evstore.log.engine.base import Tx

APPLICATION_ID = 0x45565354  # "EVST", in the file's header: tells an evstore log from any other SQLite file


def migrations() -> list[str]:
    """The SQL of each migration, oldest first; number N brings `user_version` to N."""
    folder = resources.files("evstore.log") / "migrations"
    return [file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name)]


def migrate(tx: Tx) -> bool:
    """Create what is missing; return whether anything was.

    Raises DatabaseError for a file that is not an evstore log, or is one from the future.
    """
    done = check(tx)
    todo = migrations()[done:]
    for sql in todo:
        tx.script(sql)
    if todo:
        tx.execute(f"pragma application_id = {APPLICATION_ID}")
        tx.execute(f"pragma user_version = {done + len(todo)}")
    return bool(todo)


def check(tx: Tx) -> int:
    """How many migrations the database has seen. Raises DatabaseError as `migrate` does."""
    (application,) = tx.row("pragma application_id") or (0,)
    (version,) = tx.row("pragma user_version") or (0,)
    (tables,) = tx.row("select count(*) from sqlite_master") or (0,)
    if application != APPLICATION_ID and (tables or application):
        raise DatabaseError("The file is a database, but not an evstore log.")
    if version > len(migrations()):
        raise DatabaseError(
            f"The log was written by a newer evstore (format {version}, this one knows {len(migrations())}). Update evstore."
        )
    return version
