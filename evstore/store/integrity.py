"""Looking for damage: everything in the database that can be checked against something else, is.

The projections are compared with a replay of the log. It goes into a temporary database to which
the stored one is attached, for reading only: there the names of projections mean the
replayed tables, and `events`, `chunks` and `bodies`, which the temporary one lacks, mean the stored
ones. So the same functions that write and read the log also check it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evstore import projections
from evstore.core.errors import DatabaseError
from evstore.core.events import Digest, EntryId
from evstore.core.units import MIB
from evstore.log import bodies, log, schema
from evstore.log.engine.base import Tx
from evstore.log.engine.sqlite.connections import SqliteTx, connect_reader
from evstore.projections import tree

MISSING = "missing"  # in place of the SQL of what is not there; that of an index may be null
PAGE = 200  # chunks or versions read at a time
CACHE = 64 * MIB  # bytes of plain chunks that are kept: the next version of a file has most of them
CHUNKS = "select id, digest, size, codec, data from chunks where id > ? order by id limit ?"
BODIES = """
select c.entry, c.since, c.digest, c.size, b.size from contents c left join bodies b on b.digest = c.digest
where (c.entry, c.since) > (?, ?) order by c.entry, c.since limit ?
"""
UNNAMED = "select digest, size from bodies where digest not in (select digest from contents)"

Progress = Callable[[str, int, int], None]  # which stage, how much is done, and of how much


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and with what."""

    part: str
    what: str


@dataclass(slots=True)
class Report:
    """What was looked at, and what is wrong with it."""

    events: int = 0
    chunks: int = 0
    bodies: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])


def verify(db: Path, progress: Progress) -> Report:
    """Check the whole log `db`, also while a server writes it.

    Raises DatabaseError when it is no evstore log, or one from a newer evstore.
    """
    verdict = Report()
    with beside(db) as connection:
        tx = SqliteTx(connection)
        for part, stage in STAGES:
            connection.execute("begin")
            try:
                for problem in stage(tx, verdict, progress):
                    verdict.problems.append(problem)
                connection.execute("commit")
            except Exception as error:
                # whatever damaged bytes make a reader stumble over is damage, and the next stage goes on
                connection.execute("rollback")
                verdict.problems.append(Problem(part, f"can't be read: {type(error).__name__}: {error}"))
    return verdict


@contextmanager
def beside(db: Path) -> Generator[sqlite3.Connection]:
    """A temporary database to which the log `db` is attached as `stored`, for reading only.

    Raises DatabaseError as `verify`.
    """
    with closing(connect_reader(db)) as connection:
        schema.check(SqliteTx(connection))
    with closing(sqlite3.connect("", uri=True, isolation_level=None)) as connection:
        connection.execute("attach ? as stored", (f"{db.absolute().as_uri()}?mode=ro",))
        yield connection


def replay(tx: Tx, progress: Callable[[int], None]) -> None:
    """Build all projections anew in the temporary database. `progress` gets the offset reached."""
    ((sql,),) = tx.rows("select sql from stored.sqlite_master where name = 'watermarks'")
    tx.execute(sql)
    projections.catch_up(tx, progress)


# -- the stages ------------------------------------------------------------------------


def check_file(tx: Tx, verdict: Report, progress: Progress) -> Iterator[Problem]:
    """SQLite's own check, and the tables and triggers that the log must have."""
    progress("Database file", 0, 1)
    for (line,) in tx.rows("pragma stored.integrity_check"):
        if line != "ok":
            yield Problem("database file", line)
    with closing(sqlite3.connect(":memory:")) as fresh:
        schema.migrate(SqliteTx(fresh))
        made = fresh.execute("select name, sql from sqlite_master").fetchall()
    stored = dict(tx.rows("select name, sql from stored.sqlite_master"))
    for name, sql in made:
        if stored.get(name, MISSING) != sql:
            yield Problem("schema", f"{name} is missing or was changed")


def check_chain(tx: Tx, verdict: Report, progress: Progress) -> Iterator[Problem]:
    """Every event's hash, from the first to the last."""
    total = log.head(tx).offset

    def done(offset: int) -> None:
        verdict.events = offset
        progress("Events", offset, total)

    for damage in log.verify_chain(tx, done):
        yield Problem(f"event {damage.offset}", damage.what)


def check_projections(tx: Tx, verdict: Report, progress: Progress) -> Iterator[Problem]:
    """The tables of the projections against a replay of the log."""
    total = log.head(tx).offset
    replay(tx, lambda offset: progress("Replay", offset, total))
    yield from differences(tx, "main", "stored")


def differences(tx: Tx, right: str, doubtful: str) -> Iterator[Problem]:
    """How the tables of one attached database differ from those of another, all that `right` has."""
    mend = "; `evstore rebuild` mends it"
    stored = dict(tx.rows(f"select name, sql from {doubtful}.sqlite_master"))
    for name, kind, sql in tx.rows(f"select name, type, sql from {right}.sqlite_master"):
        if stored.get(name, MISSING) != sql:
            yield Problem(f"{kind} {name}", f"is missing or was changed{mend}")
        elif kind == "table":
            missing = _rows_only_in(tx, f"{right}.{name}", f"{doubtful}.{name}")
            wrong = _rows_only_in(tx, f"{doubtful}.{name}", f"{right}.{name}")
            if missing or wrong:
                what = f"{missing} rows of a replay are missing, {wrong} rows are not what a replay gives"
                yield Problem(f"table {name}", what + mend)


def _rows_only_in(tx: Tx, these: str, those: str) -> int:
    (number,) = tx.rows(f"select count(*) from (select * from {these} except select * from {those})")[0]
    return int(number)


def check_chunks(tx: Tx, verdict: Report, progress: Progress) -> Iterator[Problem]:
    """Every chunk's bytes against its digest."""
    (total,) = tx.rows("select count(*) from chunks")[0]
    last = 0
    while page := tx.rows(CHUNKS, (last, PAGE)):
        for number, digest, size, codec, data in page:
            if number <= last:
                yield Problem(f"chunk {number}", f"stands after chunk {last}: the table is out of order")
                return  # or this would never end
            if what := _wrong_with(digest, size, codec, data):
                yield Problem(f"chunk {number}", what)
            last = number
        verdict.chunks += len(page)
        progress("Chunks", verdict.chunks, total)


def _wrong_with(digest: bytes, size: int, codec: int, data: bytes) -> str:
    try:
        plain = bodies.unpack(codec, data)
    except DatabaseError as error:
        return error.message
    if len(plain) != size or hashlib.sha256(plain).digest() != digest:
        return "its bytes are not those that were stored"
    return ""


def check_bodies(tx: Tx, verdict: Report, progress: Progress) -> Iterator[Problem]:
    """Every version of every file: it must be there, and have the digest that the log says."""
    (total,) = tx.rows("select count(*) from contents")[0]
    chunks = _Chunks(tx)
    checked: dict[bytes, str] = {}  # what is wrong with each digest
    done, entry, since = 0, b"", 0
    while page := tx.rows(BODIES, (entry, since, PAGE)):
        if page[-1][:2] <= (entry, since):
            yield Problem("table contents", "is out of order")
            return  # or this would never end
        for entry, since, digest, size, stored in page:
            if digest not in checked:
                checked[digest] = chunks.wrong_with(digest, size, stored)
            if checked[digest]:
                path = tree.path_of(tx, EntryId(entry), since) or "a deleted file"
                yield Problem(f"{path} as of offset {since}", f"its body {digest.hex()} {checked[digest]}")
        done += len(page)
        progress("Bodies", done, total)
    for digest, size in tx.rows(UNNAMED):
        if what := chunks.wrong_with(digest, size, size):
            yield Problem(f"body {digest.hex()}", f"no file has it; it {what}")
        checked[digest] = what
    verdict.bodies = len(checked)


class _Chunks:
    """Plain chunks, the latest of them kept: one version of a file differs from the next in few."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def wrong_with(self, digest: Digest, size: int, stored: int | None) -> str:
        """What is wrong with a body of `size` bytes, `stored` as one of so many; "" when nothing is."""
        if stored is None:
            return "is not stored"
        if stored != size:
            return f"is stored as one of {stored} bytes, and has {size}"
        try:
            hasher, length = hashlib.sha256(), 0
            for chunk in self._chunks(bodies.manifest(self._tx, digest)):
                hasher.update(chunk)
                length += len(chunk)
        except (DatabaseError, ValueError) as error:
            return f"can't be put together: {error}"
        return (
            "" if (hasher.digest(), length) == (digest, size) else "is not made of the bytes that were stored"
        )

    def _chunks(self, ids: list[int]) -> Iterator[bytes]:
        for number in ids:
            chunk = self._kept.get(number)
            if chunk is None:
                chunk = b"".join(bodies.chunks(self._tx, [number]))
                self._kept[number] = chunk
                self._size += len(chunk)
                while self._size > CACHE:
                    self._size -= len(self._kept.popitem(last=False)[1])
            else:
                self._kept.move_to_end(number)
            yield chunk


STAGES = (
    ("database file", check_file),
    ("events", check_chain),
    ("projections", check_projections),
    ("chunks", check_chunks),
    ("bodies", check_bodies),
)
