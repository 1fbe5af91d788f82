"""What is remembered of the disk, while that changes: between a look and what is done then, and twice within one tick of its dates."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evstore.core.errors import Conflict
from evstore.core.events import Author, Digest
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.services.contents import SaveRequest, save
from evstore.services.folder_contents import FolderContents
from evstore.services.legacy_notebooks import OldNotebooks
from evstore.store.store import Store
from evstore.worktree import scanner
from evstore.worktree.disk import file_stat as found_module
from evstore.worktree.disk.disk import Changed, Disk, Scan
from evstore.worktree.disk.file_stat import NS, StatStamp
from evstore.worktree.ignoring.ignore import IGNORE_FILE, Ignore
from evstore.worktree.index import Index
from evstore.worktree.scanner import Scanner
from evstore.worktree.unversioned.files import Unversioned
from tests.folder.both_sides import AUTHOR, MAX_SIZE, BothSides, digest

MEGABYTE = 1_000_000


def p(path: str) -> ContentPath:
    return ContentPath(path)


def me() -> Author:
    return Author.new(AUTHOR)


def in_place(file: Path, data: bytes) -> None:
    with file.open("r+b") as there:
        there.write(data)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[BothSides]:
    both = BothSides(tmp_path)
    await both.open()
    yield both
    await both.close()


@pytest.fixture
def one_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that happens to a file has the same date, as on a disk that knows only whole seconds, or every second one."""
    now = time.time_ns() // NS * NS
    of = StatStamp.of
    monkeypatch.setattr(StatStamp, "of", lambda found: of(found)._replace(mtime_ns=now, ctime_ns=now))
    monkeypatch.setattr(found_module, "COARSE_TICK", 3600 * NS)


@pytest.mark.usefixtures("one_tick")
def test_an_ignore_file_changes_within_the_same_tick(disk: Disk, root: Path) -> None:
    ignore = Ignore(disk, max_size=MEGABYTE)
    for name, other in ("ab", "ba"):
        (root / IGNORE_FILE).touch()
        in_place(root / IGNORE_FILE, name.encode())
        ignore.refresh(p(""))
        assert ignore.why(p(name), is_directory=False) is not None
        assert ignore.why(p(other), is_directory=False) is None


async def test_the_rules_of_a_directory_that_has_just_come(both: BothSides, tmp_path: Path) -> None:
    """Somebody has asked for its files before: there was no ignore file in it then."""
    assert both.folder.unversioned.why(p("d/secret")) is None
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / IGNORE_FILE).write_text("secret")
    (tmp_path / "d" / "secret").write_text("secret")
    (tmp_path / "d").rename(both.root / "d")
    await both.folder.settled()
    await both.folder.settled()
    assert "d/secret" not in await both.tree()
    assert await both.store.read(
        lambda tx: tx.row("select 1 from bodies where digest = ?", (digest(b"secret"),)) is None
    )


async def test_the_rules_in_a_directory_that_has_another_name(both: BothSides) -> None:
    """A directory of that name was there before, and some of what it held had no versions."""
    for name, rules in (("a", "nothing"), ("b", "data")):
        (both.root / name / "sub/data").mkdir(parents=True)
        both.write(f"{name}/sub/{IGNORE_FILE}", rules.encode())
        both.write(f"{name}/sub/data/f", name.encode())
    await both.folder.settled()
    assert "b/sub/data/f" not in await both.tree()
    await both.folder._watcher.aclose()  # it would tell what is in it
    (both.root / "b").rename(both.root / "c")
    await both.folder._importer.take([p("")])
    (both.root / "a").rename(both.root / "b")
    await both.folder._importer.take([p("")])
    assert both.folder.unversioned.why(p("b/sub/data/f")) is None


@pytest.mark.usefixtures("one_tick")
async def test_what_was_saved_changes_within_the_same_tick(both: BothSides) -> None:
    await both.save("f.txt", b"one")
    in_place(both.root / "f.txt", b"two")
    assert await both.text("f.txt") == b"two"


@pytest.mark.usefixtures("one_tick")
@pytest.mark.parametrize("what", ["save", "delete"])
async def test_what_changed_within_the_same_tick_is_not_lost(both: BothSides, what: str) -> None:
    """Invariant 18."""
    await both.save("f.txt", b"one")
    in_place(both.root / "f.txt", b"two")
    both.must_have.add(digest(b"two"))
    if what == "save":
        await both.save("f.txt", b"three")
    else:
        await both.contents.delete(p("f.txt"), me())
    assert await both.has_lost() == set()


@pytest.mark.usefixtures("one_tick")
def test_the_digest_of_what_changes_within_the_same_tick(disk: Disk, root: Path) -> None:
    unversioned = Unversioned(disk, Ignore(disk, max_size=2), lambda path: False)
    for text in (b"one", b"two"):
        (root / "f.txt").touch()
        in_place(root / "f.txt", text)
        there = unversioned.find(p("f.txt"))
        assert there is not None
        assert unversioned.digested(there, MEGABYTE).digest == Digest(digest(text))


def everywhere(both: BothSides) -> set[bytes]:
    """The digests of all files of the folder, those in the trash too."""
    return {digest(file.read_bytes()) for file in both.root.rglob("*") if file.is_file()}


async def test_a_file_changes_just_before_it_is_removed(
    both: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 18: between the last look at it and its removal."""
    await both.save("f.txt", b"one")
    known = both.folder._index.known

    def and_then(*args: object) -> object:
        (both.root / "f.txt").write_bytes(b"somebody's")
        monkeypatch.undo()
        return known(*args)

    both.folder._looks = False
    monkeypatch.setattr(both.folder._index, "known", and_then)
    await both.contents.delete(p("f.txt"), me())
    assert digest(b"somebody's") in everywhere(both)


@pytest.mark.parametrize("expects", ["its tag", "something", "what the log has"])
async def test_a_file_without_versions_changes_just_before_it_is_saved(
    both: BothSides, monkeypatch: pytest.MonkeyPatch, expects: str
) -> None:
    """Who says what he expects there, writes over nothing else; nor is anything written over that the log should have."""
    size = 3 if expects != "what the log has" else MAX_SIZE + 1
    both.write(IGNORE_FILE, b"*.tmp" if size == 3 else b"")
    both.write("f.tmp", b"one")
    await both.folder.settled()
    contents = FolderContents(both.store, both.folder, largest=MEGABYTE)
    there = (await contents.get(p("f.tmp"))).entry
    write = both.folder.unversioned.write

    def and_then(*args: object, **options: object) -> object:
        in_place(both.root / "f.tmp", b"somebody's")
        return write(*args, **options)

    monkeypatch.setattr(both.folder.unversioned, "write", and_then)
    body = bodies.prepare(bytes(size), both.store.known, notebook=False)
    match expects:
        case "its tag":
            wish = SaveRequest(body=body, expected=frozenset([Digest(bytes.fromhex(there.etag))]))
        case "something":
            wish = SaveRequest(body=body, present=True)
        case _:
            wish = SaveRequest(body=body)
    with pytest.raises((Conflict, Changed)):
        await contents.save(p("f.tmp"), wish, me())
    assert (both.root / "f.tmp").read_bytes() == b"somebody's"


async def test_a_file_is_written_while_all_are_compared(
    disk: Disk, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That can take long: what is old is told by the time at which it is looked at."""
    clock = [time.time_ns()]
    (root / "d").mkdir(exist_ok=True)
    (root / "d/f").write_bytes(b"half of it")
    os.utime(root / "d/f", ns=(clock[0], clock[0]))
    scan = disk.scan

    def slowly(path: ContentPath) -> Scan:
        clock[0] += 5 * NS
        os.utime(root / "d/f", ns=(clock[0], clock[0]))
        return scan(path)

    monkeypatch.setattr(disk, "scan", slowly)
    monkeypatch.setattr(scanner, "time", SimpleNamespace(time_ns=lambda: clock[0]))
    comparer = Scanner(disk, Index(), Ignore(disk, max_size=MEGABYTE))
    store = await Store.open(root.parent / "other.db")
    found = await store.read(lambda tx: comparer.compare(tx, [p("")], deep=True))
    assert [one.found.path for one in found.appeared] == ["d"] and found.busy == {"d"}
    await store.close()


@pytest.mark.parametrize("what", ["save", "delete"])
async def test_a_notebook_changes_before_it_is_saved_by_its_id(both: BothSides, what: str) -> None:
    """The watcher has not told it yet: it is the version before, and not the one after."""
    notebooks = OldNotebooks(both.store)
    await both.save("a.ipynb", b"one")
    entry = await both.contents.exists(p("a.ipynb"))
    assert entry is not None
    both.write("a.ipynb", b"somebody's")
    both.must_have.add(digest(b"somebody's"))
    if what == "save":
        body = bodies.prepare(b"ours", both.store.known, notebook=False)
        await notebooks.save_by_id(entry.id, None, SaveRequest(body=body), me())
        assert (both.root / "a.ipynb").read_bytes() == b"ours"
    else:
        await notebooks.delete_by_id(entry.id, me())
    assert await both.has_lost() == set()


async def test_a_file_is_saved_while_it_is_taken_in(both: BothSides, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be taken in was not seen: it is looked at again by whoever reads it next."""
    monkeypatch.setattr(found_module, "TICK", 0)
    await both.save("f.txt", b"one")
    both.write("f.txt", b"somebody's")
    take_in = both.folder._importer._take_in

    async def and_before(*args: Any, **options: Any) -> set[ContentPath]:
        monkeypatch.setattr(both.folder._importer, "_take_in", take_in)
        body = bodies.prepare(b"ours", both.store.known, notebook=False)
        await both.store.write(lambda work: save(work, p("f.txt"), SaveRequest(body=body)), me())
        return await take_in(*args, **options)

    monkeypatch.setattr(both.folder._importer, "_take_in", and_before)
    await both.folder.look(p("f.txt"))
    assert await both.text("f.txt") == b"somebody's"
