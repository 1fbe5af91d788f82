"""The log: facts stay facts, offsets have no gaps, times increase, the chain shows any change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evstore.core import rules
from evstore.core.errors import DatabaseError, Exists, Invalid, Locked
from evstore.core.events import Author, EntryDeleted, EntryId, Kind, new_id
from evstore.core.paths import ContentPath
from evstore.log import bodies, log
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.services.contents import Contents, SaveRequest, create
from evstore.store.store import Store, UnitOfWork

AUTHOR = Author.new("tester")


async def save(store: Store, path: str, data: bytes, author: Author = AUTHOR) -> None:
    body = bodies.prepare(data, store.known, notebook=False)
    await Contents(store).save(ContentPath(path), SaveRequest(body=body), author)


@pytest.mark.parametrize(
    "sql", ["update events set actor = 'me'", "delete from events", 'delete from events where "offset" = 1']
)
async def test_events_are_never_updated_or_deleted(store: Store, sql: str) -> None:
    """Invariant 1."""
    await save(store, "f", b"x")
    with pytest.raises(sqlite3.IntegrityError, match="events are facts"):
        await store.write(lambda work: work.tx.execute(sql), AUTHOR)
    assert await store.read(lambda tx: len(log.after(tx, 0))) == 2


async def test_offsets_have_no_gaps_even_after_commands_that_fail(store: Store) -> None:
    """Invariant 2."""
    for number in range(5):
        await save(store, f"f{number}", b"x")
        with pytest.raises(Invalid):
            await Contents(store).delete(ContentPath(""), AUTHOR)
    assert await store.read(lambda tx: [one.offset for one in log.after(tx, 0)]) == list(range(1, 11))


async def test_times_increase_when_the_clock_steps_back(store: Store) -> None:
    """Invariant 2."""
    times = iter([1000, 500, 500, 2000])

    def command(tx: Tx) -> list[int]:
        events = [(EntryId(bytes(15) + b"x"), EntryDeleted())] * 4
        return [one.at for one in log.append(tx, events, AUTHOR, clock=lambda: next(times))]

    assert await store.write(lambda work: command(work.tx), AUTHOR) == [1000, 1001, 1002, 2000]


async def test_all_events_of_a_command_carry_its_id_and_author(store: Store) -> None:
    await save(store, "f", b"x")
    created, saved = await store.read(lambda tx: log.after(tx, 0))
    assert (created.command, created.actor) == (saved.command, saved.actor) == (AUTHOR.command, "tester")


async def test_commands_written_together_are_each_its_authors_and_all_or_none(store: Store) -> None:
    """Invariant 5."""
    heard: list[tuple[str, int]] = []
    store.subscribe(lambda recorded: heard.extend((one.actor, one.offset) for one in recorded))

    def make(name: str) -> Callable[[UnitOfWork], str]:
        return lambda work: create(work, ContentPath(name), Kind.DIRECTORY).name

    ann, ben = Author.new("ann"), Author.new("ben")
    assert await store.write_together([(make("a"), ann), (make("a/b"), ben)]) == ["a", "b"]
    with pytest.raises(Exists):
        await store.write_together([(make("c"), ann), (make("a"), ben)])
    found = await store.read(lambda tx: log.after(tx, 0))
    assert [(one.actor, one.command) for one in found] == [("ann", ann.command), ("ben", ben.command)]
    assert heard == [("ann", 1), ("ben", 2)]


async def test_two_entries_never_share_a_place(store: Store) -> None:
    """Invariant 7: not even if the rules were wrong, or two commands were decided on the same state."""

    def create_twice(work: UnitOfWork) -> None:
        root = tree.root(work.tx)
        for _ in range(2):
            new = EntryId(new_id())
            work.append(rules.create(ContentPath("f"), root, None, new, Kind.FILE))

    with pytest.raises(sqlite3.IntegrityError, match=r"places\.parent, places\.name"):
        await store.write(create_twice, AUTHOR)
    assert await store.read(lambda tx: log.after(tx, 0)) == []
    await save(store, "f", b"x")
    await Contents(store).delete(ContentPath("f"), AUTHOR)
    await save(store, "f", b"y")  # what was deleted stands nowhere


async def test_a_moment_is_an_offset_or_a_time(store: Store) -> None:
    for data in (b"x", b"y"):
        await save(store, "f", data, Author.new("tester"))
    rows = await store.read(lambda tx: log.after(tx, 0))
    for row, end in zip(rows, (2, 2, 3), strict=True):  # the first save made the file, too: one command
        when = datetime.fromtimestamp(row.at // 1_000_000, UTC) + timedelta(microseconds=row.at % 1_000_000)
        assert await store.read(lambda tx, when=when: log.resolve(tx, when)) == end
        assert await store.read(lambda tx, row=row: log.resolve(tx, row.offset)) == end
    for bad in (0, -1, 4, datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)):
        with pytest.raises(Invalid):
            await store.read(lambda tx, bad=bad: log.resolve(tx, bad))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 100])
async def test_any_moment_in_a_command_is_its_end(store: Store, length: int) -> None:
    def append(work: UnitOfWork, author: Author) -> None:
        log.append(work.tx, [(EntryId(bytes(15) + b"x"), EntryDeleted())] * length, author)

    for _ in range(3):
        author = Author.new("tester")
        await store.write(lambda work, author=author: append(work, author), author)
    ends = await store.read(lambda tx: [log.resolve(tx, at) for at in range(1, 3 * length + 1)])
    assert ends == [end for end in (length, 2 * length, 3 * length) for _ in range(length)]


@pytest.mark.parametrize(
    ("sql", "offset", "what"),
    [
        ("update events set payload = x'7b7d' where \"offset\" = 2", 2, "payload has been changed"),
        ("update events set actor = 'x' where \"offset\" = 3", 3, "hash does not continue the chain"),
        ('update events set at = 1 where "offset" = 3', 3, "its time is not after"),
        ('delete from events where "offset" = 2', 3, "the events 2 to 2 are missing"),
        ('delete from events where "offset" = 4', 3, "the log ends here"),
        ("update head set hash = zeroblob(32)", 4, "the log ends here"),
        ('update events set payload_hash = zeroblob(32) where "offset" = 1', 1, "payload has been changed"),
    ],
)
async def test_any_change_of_the_log_is_found(tmp_path: Path, sql: str, offset: int, what: str) -> None:
    """Invariant 3."""
    path = tmp_path / "log.db"
    store = await Store.open(path)
    await save(store, "f", b"x")
    await save(store, "g", b"y")
    assert await store.read(lambda tx: list(log.verify_chain(tx))) == []
    await store.close()
    database = sqlite3.connect(path)
    for trigger in ("events_are_facts_update", "events_are_facts_delete"):
        database.execute(f"drop trigger {trigger}")
    database.execute(sql)
    database.commit()
    database.close()
    store = await Store.open_for_reading(path)
    found = await store.read(lambda tx: [(damage.offset, damage.what) for damage in log.verify_chain(tx)])
    await store.close()
    assert any(at == offset and what in text for at, text in found), found


async def test_an_erased_payload_does_not_break_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    store = await Store.open(path)
    await save(store, "f", b"x")
    await store.close()
    database = sqlite3.connect(path)
    database.execute("drop trigger events_are_facts_update")
    database.execute('update events set payload = null, salt = null where "offset" = 2')
    database.commit()
    database.close()
    store = await Store.open(path)
    assert await store.read(lambda tx: list(log.verify_chain(tx))) == []
    await store.close()


async def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "log.db")
    with pytest.raises(Locked, match="Another evstore"):
        await Store.open(tmp_path / "log.db")
    await store.close()
    again = await Store.open(tmp_path / "log.db")
    await again.close()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("pragma user_version = 99; pragma application_id = 1163285332", "newer evstore"),
        ("create table t (x)", "not an evstore log"),
        ("pragma application_id = 5; create table t (x)", "not an evstore log"),
    ],
)
async def test_other_databases_are_refused_and_left_alone(tmp_path: Path, prepare: str, message: str) -> None:
    path = tmp_path / "log.db"
    database = sqlite3.connect(path)
    database.executescript(prepare)
    database.close()
    with pytest.raises(DatabaseError, match=message):
        await Store.open(path)
    database = sqlite3.connect(path)
    tables = {name for (name,) in database.execute("select name from sqlite_master")}
    database.close()
    assert tables <= {"t"}


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"something else entirely" * 1000)
    with pytest.raises(DatabaseError, match="not an evstore database"):
        await Store.open(path)
    assert path.read_bytes() == b"something else entirely" * 1000


@pytest.mark.parametrize(
    "sql",
    [
        'delete from events where "offset" = 2',
        "update head set hash = zeroblob(32)",
        'update head set "offset" = 9',
    ],
)
async def test_a_log_that_lost_its_end_is_not_written_to(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "log.db"
    store = await Store.open(path)
    await save(store, "f", b"x")
    await store.close()
    database = sqlite3.connect(path)
    database.execute("drop trigger events_are_facts_delete")
    database.execute(sql)
    database.commit()
    database.close()
    with pytest.raises(DatabaseError, match="damaged or lost"):
        await Store.open(path)
