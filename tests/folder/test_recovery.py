"""What the log has done while the folder was not served is done at the next start; nothing is lost by that."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from evstore.core.events import Author, EntryId
from evstore.core.paths import ContentPath
from evstore.services.contents import Contents
from evstore.worktree.working_folder import WorkingFolder
from tests.folder.both_sides import AUTHOR, MAX_SIZE, BothSides, digest
from tests.folder.mounts import mounted, remount
from tests.helpers import Server, make_services, run_test_server

Restart = Callable[..., Coroutine[Any, Any, Server]]


@pytest.fixture
async def restart(tmp_path: Path) -> AsyncIterator[Restart]:
    """A server on tmp_path, always the same folder and log; the one before is stopped first."""
    running = [AsyncExitStack()]

    async def start(**config: Any) -> Server:
        await running.pop().aclose()
        stack = AsyncExitStack()
        running.append(stack)
        services = await stack.enter_async_context(make_services(tmp_path, **config))
        return await stack.enter_async_context(run_test_server(services))

    yield start
    await running.pop().aclose()


async def put(server: Server, path: str, text: str) -> None:
    body = {"type": "file", "format": "text", "content": text}
    assert (await server.fetch("PUT", f"/api/contents/{path}", json=body)).status in (200, 201)


async def get(server: Server, path: str) -> str:
    return (await server.fetch("GET", f"/api/contents/{path}")).json()["content"]


async def delete(server: Server, path: str) -> None:
    assert (await server.fetch("DELETE", f"/api/contents/{path}")).status == 204


def trash(root: Path) -> list[str]:
    place = root / ".evstore" / "trash"
    return sorted(os.listdir(place)) if place.exists() else []


@pytest.mark.parametrize("path", ["a.txt", "d/new.txt", "d/e/f/new.txt"])
async def test_what_was_written_into_something_deleted_without_the_folder_stays(
    restart: Restart, path: str
) -> None:
    server = await restart()
    folder = server.services.config.folder
    (folder / "d" / "e" / "f").mkdir(parents=True)
    (folder / "d" / "x.txt").write_text("x")
    (folder / "a.txt").write_text("a")
    await asyncio.sleep(0.3)
    assert await get(server, "d/x.txt") == "x"
    assert await get(server, "a.txt") == "a"
    server = await restart(with_folder=False)
    await delete(server, path.split("/", maxsplit=1)[0])
    (folder / path).write_text("precious")
    server = await restart()
    assert await get(server, path) == "precious"
    assert (folder / path).read_text() == "precious"
    if path != "a.txt":  # what is known went; the directories stayed with what is not
        assert not (folder / "d" / "x.txt").exists()
        assert (await server.fetch("GET", "/api/contents/d/x.txt")).status == 404


async def test_what_has_no_versions_keeps_nothing_that_was_deleted(restart: Restart) -> None:
    server = await restart()
    folder = server.services.config.folder
    await put(server, "a.txt", "a")
    assert (await server.fetch("PUT", "/api/contents/d", json={"type": "directory"})).status == 201
    server = await restart(with_folder=False)
    await delete(server, "d")
    (folder / "d" / "__pycache__").mkdir()
    (folder / "d" / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    (folder / "d" / "link").symlink_to("nowhere")
    server = await restart()
    assert (await server.fetch("GET", "/api/contents/d")).status == 404
    assert not (folder / "d").exists()
    (name,) = trash(folder)
    assert (folder / ".evstore" / "trash" / name / "__pycache__" / "a.pyc").read_bytes() == b"compiled"


async def test_what_was_put_aside_once_does_not_come_back_later(restart: Restart) -> None:
    server = await restart()
    folder = server.services.config.folder
    for text in ("1", "2", "3"):
        await put(server, "b.txt", text)
        server = await restart(with_folder=False)
        assert await get(server, "b.txt") == text
        await delete(server, "b.txt")
        server = await restart()
        assert (await server.fetch("GET", "/api/contents/b.txt")).status == 404
        assert not (folder / "b.txt").exists()
    await put(server, "b.txt", "4")
    assert await get(await restart(), "b.txt") == "4"
    assert len(trash(folder)) == 3
    assert not any(name.startswith("moving-") for name in trash(folder))


async def _with_directory(both: BothSides) -> EntryId:
    """A directory with a file, on both sides, and noted."""
    await both.open()
    await both.contents.create_directory(ContentPath("d"), Author.new(AUTHOR))
    await both.save("d/a.txt", b"one")
    await both.agree()
    await both.folder.note()
    entry = await both.contents.exists(ContentPath("d"))
    assert entry is not None
    return entry.id


@pytest.mark.parametrize("was_carried_out", [False, True])
async def test_a_start_that_was_ended_leaves_nothing_that_a_later_one_takes_for_its_own(
    tmp_path: Path, *, was_carried_out: bool
) -> None:
    both = BothSides(tmp_path)
    directory = await _with_directory(both)
    old = both.root / ".evstore" / "trash" / f"moving-{directory.hex()}"
    old.mkdir(parents=True)
    (old / "old.txt").write_bytes(b"old")
    if not was_carried_out:
        both.store.mirror = None
    await both.contents.move(ContentPath("d"), ContentPath("e"), Author.new(AUTHOR))
    await both.crash()
    await both.open()
    assert set(await both.agree()) == {"e", "e/a.txt"}
    (name,) = trash(both.root)
    assert not name.startswith("moving-")
    assert (both.root / ".evstore" / "trash" / name / "old.txt").read_bytes() == b"old"
    await both.close()


async def test_what_an_ended_start_has_put_aside_gets_to_its_place(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    directory = await _with_directory(both)
    both.store.mirror = None
    await both.contents.move(ContentPath("d"), ContentPath("e"), Author.new(AUTHOR))
    await both.crash()
    both.write("d/new.txt", b"new")
    (both.root / ".evstore" / "trash").mkdir(exist_ok=True)
    (both.root / "d").rename(both.root / ".evstore" / "trash" / f"moving-{directory.hex()}")
    await both.open()
    assert set(await both.agree()) == {"e", "e/a.txt", "e/new.txt"}
    assert trash(both.root) == []
    await both.close()


async def test_what_was_noted_before_it_was_carried_out_is_carried_out(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    await _with_directory(both)
    both.store.mirror = None
    await both.contents.delete(ContentPath("d"), Author.new(AUTHOR))
    await both.folder.note()
    await both.crash()
    await both.open()
    assert await both.agree() == {}
    await both.close()


async def test_another_folder_gets_what_it_lacks_and_keeps_what_it_has(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    await _with_directory(both)
    await both.save("b.txt", b"ours")
    await both.close()
    both.root.rename(tmp_path / "former")
    both.root.mkdir()
    both.write("b.txt", b"theirs")
    both.write("c.txt", b"new")
    await both.open()
    assert set(await both.agree()) == {"d", "d/a.txt", "b.txt", "c.txt"}
    assert await both.text("b.txt") == b"theirs"
    assert await both.events("d/a.txt") == ["EntryCreated", "FileSaved"]
    assert await both.has_lost() == set()
    await both.close()


async def test_what_was_undeleted_before_a_crash_is_all_there(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    directory = await _with_directory(both)
    await both.contents.delete(ContentPath("d"), Author.new(AUTHOR))
    both.store.mirror = None
    await both.history.undelete(directory, None, Author.new(AUTHOR))
    await both.crash()
    await both.open()
    assert set(await both.agree()) == {"d", "d/a.txt"}
    await both.close()


async def test_what_was_undeleted_before_a_crash_and_has_no_room_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with mounted(tmp_path / "folder", "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        both = BothSides(tmp_path)
        directory = await _with_directory(both)
        await both.save("single.txt", b"single" * 1000)
        await both.folder.note()
        single = await both.contents.exists(ContentPath("single.txt"))
        assert single is not None
        for path in ("d", "single.txt"):
            await both.contents.delete(ContentPath(path), Author.new(AUTHOR))
        shutil.rmtree(both.root / ".evstore/trash")
        both.store.mirror = None
        for entry in (directory, single.id):
            await both.history.undelete(entry, None, Author.new(AUTHOR))
        expected = await both.tree()
        await both.crash()
        filler = both.root / ".evstore/filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        await both.open()
        await both.folder.settled()
        assert await both.tree() == expected
        filler.unlink()
        await both.folder._try_again()
        assert both.disk() == await both.agree() == expected
        await both.close()


async def test_what_may_not_be_changed_keeps_no_server_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both, author = BothSides(tmp_path), Author.new(AUTHOR)
    part = both.root / "r"
    with mounted(part, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        await both.open()
        for path in ("r/a.txt", "r/b.txt", "r/d/x.txt", "r/f/y.txt"):
            (both.root / path).parent.mkdir(exist_ok=True)
            both.write(path, path.encode())
        before = await both.agree()
        await both.folder.note()
        await asyncio.sleep(0.2)  # what has just been changed is taken in later
        both.store.mirror = None
        await both.contents.delete(ContentPath("r/a.txt"), author)
        await both.contents.move(ContentPath("r/b.txt"), ContentPath("r/c.txt"), author)
        await both.contents.move(ContentPath("r/d"), ContentPath("r/e"), author)
        await both.save("r/e/x.txt", b"newer")
        await both.contents.move(ContentPath("r/f"), ContentPath("f"), author)
        await both.crash()
        remount(part, "ro")
        await both.open()
        told = [one.message for one in caplog.records if one.levelno == logging.WARNING]
        assert any("may not be changed on the disk" in one for one in told)
        async with asyncio.timeout(30):
            while (await both.tree()).keys() != before.keys():  # as it lies on the disk
                await asyncio.sleep(0.05)
        assert both.disk() == before
        assert await both.events("r/b.txt") == ["EntryCreated", "FileSaved", "EntryMoved", "EntryMoved"]
        remount(part, "rw")
        assert (await both.agree()).keys() == before.keys()
        assert (part / "d" / "x.txt").read_bytes() == b"newer"
        await both.close()


async def test_what_can_not_get_to_its_place_stays_where_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = BothSides(tmp_path)
    await _with_directory(both)
    await both.save("b.txt", b"two")
    await both.agree()
    await both.folder.note()
    both.store.mirror = None
    await both.contents.move(ContentPath("b.txt"), ContentPath("d/b.txt"), Author.new(AUTHOR))
    await both.crash()
    both.write("b.txt", b"precious")
    both.remove("d")
    both.write("d", b"a file")
    await both.open()
    assert set(await both.agree()) == {"d", "b.txt"}
    assert await both.text("b.txt") == b"precious"
    assert trash(both.root) == []
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    await both.close()


async def test_a_command_without_a_server_does_not_throw_away_what_it_has_not_seen(tmp_path: Path) -> None:
    """What has changed since the folder was served is in no version yet."""
    both = BothSides(tmp_path)
    await both.open()
    (both.root / "d/sub").mkdir(parents=True)
    for path in ("d/changed", "d/known", "d/sub/known", "single"):
        both.write(path, path.encode())
    await both.folder.settled()
    await both.close()
    for path in ("d/changed", "d/sub/new", "single"):
        both.write(path, b"unseen, " + path.encode())
    await both.open_store()
    both.folder = WorkingFolder(both.store, both.root, both.db, max_size=MAX_SIZE)
    await both.folder.open_to_write()
    for path in ("d", "single"):
        await Contents(both.store).delete(ContentPath(path), Author.new(AUTHOR))
    await both.close()
    await both.open()
    await both.folder.settled()
    for path in ("d/changed", "d/sub/new", "single"):
        assert await both.text(path) == b"unseen, " + path.encode()
    assert await both.tree() == both.disk()
    assert not (both.root / "d/known").exists()
    await both.close()


async def test_another_file_has_the_inode_by_now(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Saved and renamed before a crash; a new file under the old name got the inode that was noted last."""
    both = BothSides(tmp_path)
    await both.open()
    await both.save("a.txt", b"first")
    await both.folder.note()
    noted = both.store.offset
    found = await both.contents.exists(ContentPath("a.txt"))
    assert found is not None
    entry = found.id
    await both.save("a.txt", b"second")
    await both.contents.move(ContentPath("a.txt"), ContentPath("b.txt"), Author.new(AUTHOR))
    await both.save("a.txt", b"another")
    inode = (both.root / "a.txt").stat().st_ino
    await both.close()
    with closing(sqlite3.connect(both.db, isolation_level=None)) as db:
        db.execute('update folder set "offset" = ?', (noted,))
        db.execute("delete from folder_known where entry != ? and size > 0", (entry,))
        stamp = (len(b"first"), 1, inode, 1, hashlib.sha256(b"first").digest(), entry)
        db.execute("update folder_known set size=?, mtime=?, inode=?, ctime=?, digest=? where entry=?", stamp)
    caplog.clear()
    await both.open()
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert {path.name: path.read_bytes() for path in both.root.glob("*.txt")} == {
        "a.txt": b"another",
        "b.txt": b"second",
    }
    assert set(await both.agree()) == {"a.txt", "b.txt"}
    await both.close()


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_rename_in_a_new_directory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_known: bool
) -> None:
    """Nothing of it had been noted, and only the rename is missing on the disk."""
    both = BothSides(tmp_path)
    await both.open()
    await both.folder.note()
    noted = both.store.offset
    await both.contents.create_directory(ContentPath("d"), Author.new(AUTHOR))
    await both.save("d/a.txt", b"one")
    if is_known:
        await both.folder.note()
        with closing(sqlite3.connect(both.db, isolation_level=None)) as db:
            db.execute('update folder set "offset" = ?', (noted,))
    both.store.mirror = None
    await both.contents.move(ContentPath("d/a.txt"), ContentPath("d/b.txt"), Author.new(AUTHOR))
    await both.crash()
    inode = (both.root / "d/a.txt").stat().st_ino
    caplog.clear()
    await both.open()
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert set(await both.agree()) == {"d", "d/b.txt"}
    assert (both.root / "d/b.txt").stat().st_ino == inode
    assert trash(both.root) == []
    await both.close()


@pytest.mark.parametrize("last", ["saved", "deleted"])
async def test_what_somebody_brings_back_after_a_crash_stays(tmp_path: Path, last: str) -> None:
    """As by a `git checkout`: its bytes are those of an older version. That the log has something newer was not noted."""
    both, author = BothSides(tmp_path), Author.new(AUTHOR)
    await both.open()
    await both.save("a.txt", b"one")
    await both.folder.settled()
    await both.folder.note()
    if last == "saved":
        await both.save("a.txt", b"two")
    else:
        await both.contents.delete(ContentPath("a.txt"), author)
    await both.crash()
    both.write("a.txt", b"one")
    await both.open()
    assert await both.agree() == {"a.txt": digest(b"one")}
    assert (await both.events("a.txt"))[-1] == ("FileSaved" if last == "saved" else "EntryUndeleted")
    assert trash(both.root) == []
    await both.close()
