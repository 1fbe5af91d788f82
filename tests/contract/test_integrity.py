"""Damage that is planted is found, wherever it is; and a rebuild makes every table what it was."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from evstore.core import rules
from evstore.core.errors import DatabaseError
from evstore.core.events import Author, CommitImported, TagImported
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.log.engine.sqlite.connections import SqliteTx
from evstore.projections import tree
from evstore.services.checkpoints import Checkpoints
from evstore.services.contents import Contents, SaveRequest
from evstore.services.history import History
from evstore.store.integrity import Problem, differences, verify
from evstore.store.store import Store, UnitOfWork

NOTES, GONE, BACK, SUB = (ContentPath(name) for name in ("notes.txt", "gone.txt", "back.txt", "sub"))
# long enough to be compressed, so that the file's bytes stand nowhere else
FIRST, SECOND = (f"{word}\n".encode() * 400 for word in ("a line of the first version", "and of the second"))

MADE_BY_OTHERS = {"marks", "folder", "folder_known"}  # tables that do not come from events


def me() -> Author:
    """An author for one command: each has its own id."""
    return Author.new("me")


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


async def make_history(store: Store) -> None:
    """Every kind of event that there is now, and every projection with rows in it."""
    contents, history, checkpoints = Contents(store), History(store), Checkpoints(store)

    async def save(path: ContentPath, body: bytes, *, trusted: bool = False) -> None:
        prepared = bodies.prepare(body, store.known, notebook=False)
        await contents.save(path, SaveRequest(body=prepared, trusted=trusted), me())

    await contents.create_directory(SUB, me())
    await save(NOTES, FIRST, trusted=True)
    await checkpoints.create(NOTES, me(), "the first")
    await save(NOTES, SECOND)
    marked = await checkpoints.create(NOTES, me())
    await checkpoints.delete(NOTES, marked.offset, me())
    await checkpoints.restore(NOTES, 3, me())
    await save(GONE, b"gone")
    await save(BACK, b"back")
    await contents.move(BACK, SUB.child("moved.txt"), me())
    await contents.delete(GONE, me())
    await contents.delete(SUB, me())
    (sub,) = [one.entry for one in await history.deleted(ContentPath("")) if one.path == SUB]
    await history.undelete(sub, None, me())
    await contents.copy(SUB, ContentPath("copy"), me(), exact=True)
    await store.write(take_commit, me())


def take_commit(work: UnitOfWork) -> None:
    """A command: what the import of a git commit leaves, and of a tag on it."""
    notes, top = tree.entry_at(work.tx, NOTES), tree.root(work.tx)
    assert notes is not None
    work.append(rules.set_executable(notes, True, known=False))
    commit = CommitImported(
        commit="ab" * 20, author="A <a@x> 1 +0000", committer="A <a@x> 1 +0000", message="m\n"
    )
    (recorded,) = work.append(rules.note_git(top, commit))
    work.append(rules.note_git(top, TagImported(name="v1", source=recorded.offset)))


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """A closed log with a history."""
    path = tmp_path / "log.db"
    store = await Store.open(path)
    await make_history(store)
    await store.close()
    return path


def read(db: Path, sql: str) -> bytes:
    """One value out of the database, as it is stored."""
    with closing(sqlite3.connect(db)) as connection:
        (value,) = connection.execute(sql).fetchone()
    return value if isinstance(value, bytes) else str(value).encode()


def change(db: Path, *statements: str) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for sql in statements:
            connection.execute(sql)


def flip(db: Path, needle: bytes, bit: int = 0, *, at: int = 0) -> None:
    """Flip one bit where `needle` stands in the file, as a bad disk would. There must be one such place."""
    data = bytearray(db.read_bytes())
    place = data.index(needle)
    assert data.count(needle) == 1
    data[place + at] ^= 1 << bit
    db.write_bytes(data)


def problems(db: Path) -> list[Problem]:
    return verify(db, quiet).problems


def test_a_sound_log(db: Path) -> None:
    verdict = verify(db, quiet)
    assert verdict.problems == []
    assert (verdict.events, verdict.bodies) == (int(read(db, 'select "offset" from head')), 4)


def test_verifying_changes_nothing(db: Path) -> None:
    before = db.read_bytes()
    verify(db, quiet)
    assert db.read_bytes() == before


def test_a_bit_of_an_event(db: Path) -> None:
    payload = read(db, 'select payload from events where "offset" = 2')
    flip(db, payload, at=len(payload) // 2)
    assert Problem("event 2", "its payload has been changed") in problems(db)


def test_every_bit_of_an_event_counts(db: Path) -> None:
    """Its place, author, time, entry and name are under the hash, too. Invariant 3."""
    hash = read(db, 'select hash from events where "offset" = 4')
    for bit in (0, 3, 7):
        flip(db, hash, bit)
        assert Problem("event 4", "its hash does not continue the chain") in problems(db)
        flip(db, bytes([hash[0] ^ 1 << bit]) + hash[1:], bit)
    assert problems(db) == []


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "update events set actor = 'you' where \"offset\" = 5",
            Problem("event 5", "its hash does not continue the chain"),
        ),
        (
            'update events set at = at + 1 where "offset" = 5',
            Problem("event 5", "its hash does not continue the chain"),
        ),
        ('delete from events where "offset" = 7', Problem("event 8", "the events 7 to 7 are missing")),
        (
            'delete from events where "offset" = (select "offset" from head)',
            Problem("event 21", "the log ends here, but its head says offset 22"),
        ),
    ],
)
def test_a_forged_log(db: Path, sql: str, problem: Problem) -> None:
    """Somebody has taken the triggers away, changed the log, and put them back."""
    with closing(sqlite3.connect(db)) as connection:
        triggers = connection.execute("select name, sql from sqlite_master where type = 'trigger'").fetchall()
    drops = [f"drop trigger {name}" for name, _ in triggers]
    change(db, *drops, sql, *(made for _, made in triggers))
    assert problem in problems(db)


def test_a_missing_trigger(db: Path) -> None:
    change(db, "drop trigger events_are_facts_update")
    assert problems(db) == [Problem("schema", "events_are_facts_update is missing or was changed")]


def test_a_bit_of_a_chunk(db: Path) -> None:
    number = int(read(db, "select id from chunks where codec = 1 order by id limit 1"))
    data = read(db, f"select data from chunks where id = {number}")
    flip(db, data, at=len(data) - 6)
    found = problems(db)
    assert found[0].part == f"chunk {number}"
    told = {problem.part for problem in found[1:]}
    assert told == {"notes.txt as of offset 3", "notes.txt as of offset 8"}  # saved, and restored


def test_a_chunk_of_other_bytes(db: Path) -> None:
    number = int(read(db, "select id from chunks where codec = 0 order by id limit 1"))
    change(db, f"update chunks set data = x'00112233' where id = {number}")
    assert Problem(f"chunk {number}", "its bytes are not those that were stored") in problems(db)


def test_a_missing_chunk(db: Path) -> None:
    change(db, "delete from chunks where codec = 0")
    assert any("can't be put together" in problem.what for problem in problems(db))


def test_a_bit_of_a_manifest(db: Path) -> None:
    manifest = read(db, f"select manifest from bodies where size = {len(SECOND)}")
    change(
        db,
        f"update bodies set manifest = x'{(manifest[:-1] + bytes([manifest[-1] ^ 4])).hex()}' where size = {len(SECOND)}",
    )
    (problem,) = problems(db)
    assert problem.part == "notes.txt as of offset 5"


def test_a_manifest_of_another_body(db: Path) -> None:
    other = f"(select manifest from bodies where size = {len(FIRST)})"
    change(db, f"update bodies set manifest = {other} where size = {len(SECOND)}")
    (problem,) = problems(db)
    assert problem.part == "notes.txt as of offset 5"
    assert problem.what.endswith("is not made of the bytes that were stored")


def test_a_body_of_another_size(db: Path) -> None:
    change(db, f"update bodies set size = size + 1 where size = {len(SECOND)}")
    (problem,) = problems(db)
    assert problem.part == "notes.txt as of offset 5"
    assert problem.what.endswith(f"is stored as one of {len(SECOND) + 1} bytes, and has {len(SECOND)}")


def test_a_body_that_is_not_there(db: Path) -> None:
    change(db, f"delete from bodies where size = {len(SECOND)}")
    (problem,) = problems(db)
    assert problem.part == "notes.txt as of offset 5"
    assert problem.what.endswith("is not stored")


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("places", "update places set name = 'other.txt' where name = 'notes.txt'"),
        ("places", "update places set until = until - 1 where since = 2"),
        ("contents", "delete from contents where since = 5"),
        ("entries", "update entries set created = created + 1"),
        ("touches", "delete from touches where since = 1"),
        ("checkpoints", "update checkpoints set label = 'forged'"),
        ("history", 'delete from history where "offset" = 6'),
        ("deletions", "delete from deletions"),
        ("trusted", "insert into trusted values (zeroblob(32))"),
        ("watermarks", "update watermarks set \"offset\" = 3 where projection = 'tree'"),
        ("places_by_name", "drop index places_by_name"),
    ],
)
async def test_a_projection_that_is_not_what_the_log_says(db: Path, table: str, sql: str) -> None:
    change(db, sql)
    (problem,) = problems(db)
    assert problem.part.split()[-1] == table
    assert problem.what.endswith("`evstore rebuild` mends it")
    store = await Store.open(db, rebuild=True)
    await store.close()
    assert problems(db) == []


def test_a_page_that_is_gone(db: Path) -> None:
    data = bytearray(db.read_bytes())
    data[8192 * 2 : 8192 * 3] = bytes(8192)
    db.write_bytes(data)
    assert problems(db)


def test_every_bit_matters(db: Path) -> None:
    """A flipped bit, all over what is in the file, is found; or nothing that can be read has changed by it."""
    original, said = db.read_bytes(), dump(db)
    found = 0
    places = [place for place, byte in enumerate(original) if byte][100::101]
    for place in places:
        data = bytearray(original)
        data[place] ^= 0x10
        db.write_bytes(data)
        if is_damaged(db):
            found += 1
        else:
            assert dump(db) == said, f"nobody noticed a changed bit at {place}"
    assert found > len(places) / 2  # the rest is free space, where something was


def is_damaged(db: Path) -> bool:
    try:
        return problems(db) != []
    except DatabaseError:  # not even a database any more
        return True


def dump(db: Path) -> list[object]:
    """All that can be read in the database: its schema and rows, what is compressed as what it stands for."""
    with closing(sqlite3.connect(db)) as connection:
        schema = connection.execute("select name, sql from sqlite_master order by name").fetchall()
        tables = [name for name, sql in schema if sql and sql.startswith("CREATE TABLE")]
        rows = [connection.execute(f'select * from "{table}"').fetchall() for table in tables]
    return [schema, [[tuple(map(plain, row)) for row in table] for table in rows]]


def plain(value: object) -> object:
    is_packed = isinstance(value, bytes) and value.startswith(b"\x28\xb5\x2f\xfd")  # RFC 8878, 3.1.1
    return bodies.zstd.decompress(value) if is_packed else value


async def test_a_rebuild_makes_every_table_what_it_was(db: Path, tmp_path: Path) -> None:
    """Invariant 6."""
    before = shutil.copy(db, tmp_path / "before.db")
    store = await Store.open(db)
    await store.rebuild()
    await store.close()
    with closing(sqlite3.connect(before)) as connection:
        connection.execute("attach ? as rebuilt", (str(db),))
        tx = SqliteTx(connection)
        assert list(differences(tx, "main", "rebuilt")) == []
        assert list(differences(tx, "rebuilt", "main")) == []
        tables = [name for (name,) in tx.rows("select name from sqlite_master where type = 'table'")]
        assert all(
            tx.rows(f"select count(*) from {name}") != [(0,)] for name in tables if name not in MADE_BY_OTHERS
        )
