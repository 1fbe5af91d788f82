"""Taking in a folder, and writing one."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evstore.core.errors import Full
from evstore.core.events import Author, FileSaved
from evstore.core.naming import unlisted
from evstore.core.paths import ContentPath
from evstore.log import bodies, log
from evstore.services.contents import Contents, SaveRequest
from evstore.store.body_upload import WHOLE
from evstore.store.store import Store
from evstore.transfer import folder_import
from evstore.transfer.folder_export import export
from evstore.transfer.folder_import import Report, import_folder, import_once
from evstore.worktree.disk.errors import FolderGone
from evstore.worktree.disk.file_stat import LATEST, FileStat
from evstore.worktree.ignoring.ignore import PACKAGES
from tests.folder.mounts import mounted

ROOT = ContentPath("")
ME = Author.new("me")
LIMIT = 1 << 30


def quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "db" / "log.db")
    yield store
    await store.close()


async def take_in(store: Store, source: Path, db: Path | None = None, max_size: int = LIMIT) -> Report:
    return await import_folder(store, source, db or source.parent / "db", max_size=max_size, progress=quiet)


def put(source: Path, name: str, content: bytes | str, date: float = 1_700_000_000.25) -> None:
    path = source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (date, date))


async def contents_of(store: Store, path: str) -> bytes:
    entry = (await Contents(store).get(ContentPath(path))).entry
    return await store.body(entry.digest)


async def test_files_come_with_their_dates(store: Store, source: Path) -> None:
    put(source, "sub/deep/a.txt", "hello", 1_600_000_000.123456)
    report = await take_in(store, source)
    assert (report.files, report.directories, report.bytes, report.skipped) == (1, 2, 5, [])
    found = (await Contents(store).get(ContentPath("sub/deep/a.txt"))).entry
    assert (found.created, found.modified, found.size) == (1_600_000_000_123_456,) * 2 + (5,)
    assert await contents_of(store, "sub/deep/a.txt") == b"hello"


@pytest.mark.parametrize(("date", "expected"), [(-5_000, 0), (7_999, 7), (300_000_000_000 * 10**9, LATEST)])
def test_dates_that_no_calendar_shows(date: int, expected: int) -> None:
    found = os.stat_result((0,) * 10, {"st_mtime_ns": date, "st_ctime_ns": 0})
    assert FileStat.of(ROOT, found).modified == expected


async def test_what_is_not_taken_in(store: Store, source: Path, tmp_path: Path) -> None:
    put(source, "kept.txt", "kept")
    for name in (
        ".hidden",
        ".git/config",
        "__pycache__/a.pyc",
        "node_modules/x.js",
        ".ipynb_checkpoints/a.ipynb",
    ):
        put(source, name, "left out in silence")
    put(tmp_path, "outside/secret", "not ours")
    (source / "link to file").symlink_to(tmp_path / "outside" / "secret")
    (source / "link to folder").symlink_to(tmp_path / "outside")
    (source / "link to itself").symlink_to(source)
    os.mkfifo(source / "pipe")
    put(source, "back\\slash", "")
    (source / os.fsdecode(b"latin\xe9")).write_text("")
    put(source, "huge", "x" * 100)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(source / "socket"))
        report = await take_in(store, source, max_size=99)
    assert report.files == 1
    assert {(skipped.path, skipped.reason.partition(":")[0]) for skipped in report.skipped} == {
        ("link to file", "a symbolic link"),
        ("link to folder", "a symbolic link"),
        ("link to itself", "a symbolic link"),
        ("pipe", "a pipe, a socket or a device"),
        ("socket", "a pipe, a socket or a device"),
        ("back\\slash", "a name that no entry can have"),
        ("latin\\udce9", "a name that no entry can have"),
        ("huge", "larger than 99 bytes"),
    }
    assert [member.name for member in (await Contents(store).list(ROOT)).members] == ["kept.txt"]


async def test_a_file_that_becomes_something_else(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and reading a file is deleted, and another becomes a link and a pipe."""
    for name in ("a-gone", "b-link", "c-pipe", "d-kept"):
        put(source, name, name)
    find = folder_import.find

    def find_and_meddle(*args: object) -> object:
        found = find(*args)  # pyright: ignore[reportArgumentType]
        for name in ("a-gone", "b-link", "c-pipe"):
            (source / name).unlink()
        (source / "b-link").symlink_to("/etc/passwd")
        os.mkfifo(source / "c-pipe")
        return found

    monkeypatch.setattr(folder_import, "find", find_and_meddle)
    report = await take_in(store, source)
    assert {(one.path, one.reason) for one in report.skipped} == {
        ("a-gone", "gone meanwhile"),
        ("b-link", "can't be read (a symbolic link on the disk)"),
        ("c-pipe", "can't be read (a pipe on the disk)"),
    }
    assert [member.name for member in (await Contents(store).list(ROOT)).members] == ["d-kept"]


async def test_the_log_is_not_taken_in(tmp_path: Path, source: Path) -> None:
    """--db may lie in the open, among the files."""
    put(source, "a.txt", "a")
    db = source / "history.db"
    store = await Store.open(db)
    (source / "cookie_secret").write_bytes(b"s" * 32)
    report = await take_in(store, source, db)
    await store.close()
    assert (report.files, report.skipped) == (1, [])


async def test_once_more_takes_in_what_has_changed(store: Store, source: Path) -> None:
    put(source, "same.txt", "same")
    put(source, "touched.txt", "touched")
    put(source, "changed.txt", "before")
    await take_in(store, source)
    end = store.offset
    put(source, "touched.txt", "touched", 1_700_000_001)
    put(source, "changed.txt", "after!", 1_700_000_002)  # of the same size
    put(source, "new.txt", "new")
    report = await take_in(store, source)
    assert (report.files, report.unchanged) == (2, 2)  # the touched one is the same
    new = await store.read(lambda tx: log.after(tx, end))
    assert sum(isinstance(recorded.event, FileSaved) for recorded in new) == 2  # the touched one is the same
    assert await contents_of(store, "changed.txt") == b"after!"


async def test_names_that_are_taken_by_something_else(store: Store, source: Path) -> None:
    put(source, "a/in.txt", "x")
    put(source, "b", "x")
    await Contents(store).create_directory(ContentPath("b"), ME)
    wish = SaveRequest(body=bodies.prepare(b"file", store.known, notebook=False))
    await Contents(store).save(ContentPath("a"), wish, ME)
    report = await take_in(store, source)
    assert {one.path for one in report.skipped} == {"a", "a/in.txt", "b"}
    assert await contents_of(store, "a") == b"file"


async def test_only_the_first_start_takes_in(tmp_path: Path, source: Path) -> None:
    put(source, "a.txt", "a")
    db = tmp_path / "x.db"
    for turn, expected in enumerate((1, None, None)):
        store = await Store.open(db)
        report = await import_once(store, source, db, max_size=LIMIT, progress=quiet)
        assert (report.files if report else None) == expected
        if turn == 1:
            await store.rebuild()  # the mark is no projection
        await store.close()
        put(source, "later.txt", "not seen")


async def test_a_folder_that_is_moved_away_meanwhile(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_import, "BATCH_FILES", 1)
    for number in range(8):
        put(source, f"{number}", f"{number}")

    def move_away(done: int, total: int) -> None:
        if source.exists():
            source.rename(source.with_name("elsewhere"))

    with pytest.raises(FolderGone):
        await import_folder(store, source, source.parent / "db", max_size=LIMIT, progress=move_away)
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing goes on


async def test_more_than_there_is_room_for(store: Store, source: Path, tmp_path: Path) -> None:
    """Told before the disk is full: then nothing could be saved any more, neither here nor by others."""
    put(source, "a.bin", bytes(1_500_000))
    put(source, "b.bin", bytes(1_500_000))
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        db = tmp_path / "small" / "log.db"
        with pytest.raises(Full, match=r"have 3 MB, and there is room for 1 MB .*log\.db"):
            await take_in(store, source, db)
        assert store.offset == 0
        assert (await take_in(store, source, db, max_size=1_400_000)).files == 0
    assert (await take_in(store, source)).files == 2


async def test_large_files_are_streamed(store: Store, source: Path, tmp_path: Path) -> None:
    body = os.urandom(1 << 20) * (WHOLE // (1 << 20) + 2)
    put(source, "large.bin", body)
    put(source, "small.bin", "s")
    report = await take_in(store, source)
    assert (report.files, report.bytes) == (2, len(body) + 1)
    done = await export(store, ROOT, None, tmp_path / "out", quiet, force=False)
    assert (done.files, done.bytes) == (2, len(body) + 1)
    assert (tmp_path / "out" / "large.bin").read_bytes() == body


names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=20).filter(
    lambda name: name not in PACKAGES and not unlisted(name)
)
trees = st.recursive(
    st.binary(max_size=300),
    lambda below: st.dictionaries(names, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def lay_out(folder: Path, tree: dict[str, object]) -> None:
    folder.mkdir()
    for name, below in tree.items():
        if isinstance(below, bytes):
            put(folder, name, below)
        else:
            lay_out(folder / name, below)  # pyright: ignore[reportArgumentType]


def read_back(folder: Path) -> dict[str, object]:
    return {path.name: read_back(path) if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=25, deadline=None)
@given(tree=trees)
async def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    lay_out(folder / "in", tree)
    store = await Store.open(folder / "log.db")
    report = await take_in(store, folder / "in", folder / "log.db")
    assert report.skipped == []
    await export(store, ROOT, None, folder / "out", quiet, force=False)
    await store.close()
    assert read_back(folder / "out") == tree


async def test_export_keeps_modes_to_the_umask(store: Store, source: Path, tmp_path: Path) -> None:
    put(source, "a.txt", "a")
    await take_in(store, source)
    before = os.umask(0o027)
    try:
        await export(store, ROOT, None, tmp_path / "out", quiet, force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out" / "a.txt").stat().st_mode) == 0o640


def is_program(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXUSR)


async def test_programs_come_in_and_go_out(store: Store, source: Path, tmp_path: Path) -> None:
    for name in ("a.sh", "b.sh", "empty.sh"):
        put(source, name, b"" if name == "empty.sh" else b"one")
    (source / "a.sh").chmod(0o755)
    (source / "empty.sh").chmod(0o700)
    await take_in(store, source)
    before = store.offset
    assert (await take_in(store, source)).files == 0
    (source / "a.sh").chmod(0o644)
    (source / "b.sh").chmod(0o755)
    assert (await take_in(store, source)).files == 2
    events = await store.read(lambda tx: log.after(tx, before))
    assert [type(one.event).__name__ for one in events] == ["ExecutableChanged", "ExecutableChanged"]
    await export(store, ROOT, None, tmp_path / "now", quiet, force=False)
    await export(store, ROOT, before, tmp_path / "then", quiet, force=False)
    programs = {
        name: [file.name for file in sorted((tmp_path / name).iterdir()) if is_program(file)]
        for name in ("now", "then")
    }
    assert programs == {"now": ["b.sh", "empty.sh"], "then": ["a.sh", "empty.sh"]}
