"""A disk that takes `A.txt` and `a.txt` for the same file, as those of macOS and Windows do, and any over a network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evstore.core.errors import NotFound
from evstore.core.events import Author
from evstore.worktree.disk.disk import Changed, Disk, FileType, Occupied, StatStamp
from evstore.worktree.disk.filesystem import is_network
from tests.folder.both_sides import AUTHOR, BothSides
from tests.folder.disks import NOW, ROOT, p
from tests.folder.dying import run
from tests.folder.fuse import folding_disk
from tests.process.commands import evstore

NFC, NFD = "caf\u00e9.txt", "cafe\u0301.txt"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with folding_disk(tmp_path):
        (tmp_path / "Dir").mkdir()
        (tmp_path / "Dir/a.txt").write_text("a")
        (tmp_path / NFC).write_text("c")
        (tmp_path / "\u00df").write_text("sharp s")
        yield tmp_path


def test_that_the_disk_is_so(disk: Disk, root: Path) -> None:
    assert disk.is_case_insensitive
    assert (root / "DIR/A.TXT").read_text() == (root / "dir" / "a.txt").read_text() == "a"
    assert (root / NFD).read_text() == "c" and (root / "SS").read_text() == "sharp s"


@pytest.mark.parametrize("path", ["Dir/A.txt", "dir/a.txt", "DIR/new/x", NFD, NFC.upper(), "SS", ".Evstore"])
def test_another_spelling_is_not_there(disk: Disk, root: Path, path: str) -> None:
    disk.write(p("makes"), [b".evstore"], modified=NOW)
    before = sorted(root.rglob("*"))
    assert disk.look(p(path)) is None
    assert not disk.writable(p(path))
    attempts: list[Callable[[], object]] = [
        lambda: disk.open(p(path)),
        lambda: disk.scan(p(path)),
        lambda: disk.write(p(path), [b"x"], modified=NOW),
        lambda: disk.make_directory(p(path)),
        lambda: disk.rename(p(path), p("elsewhere")),
        lambda: disk.rename(p("makes"), p(path)),
        lambda: disk.discard(p(path), "1"),
        lambda: disk.remove_file(p(path), StatStamp(0, 0, 0, 0)),
        lambda: disk.remove_directory(p(path)),
    ]
    for attempt in attempts:
        with pytest.raises((NotFound, Occupied)):
            attempt()
    assert sorted(root.rglob("*")) == before


def test_the_right_spelling_is(disk: Disk) -> None:
    found = disk.look(p("Dir/a.txt"))
    assert found is not None and found.what is FileType.FILE
    stamp = disk.write(p("Dir/a.txt"), [b"new"], modified=NOW, replacing=found.stamp)
    with pytest.raises(Changed):
        disk.write(p("Dir/a.txt"), [b"newer"], modified=NOW, replacing=found.stamp)
    file, found = disk.open(p("Dir/a.txt"))
    with file:
        assert file.read() == b"new"
    assert found.stamp.size == stamp.size == 3 and found.modified == NOW
    assert [one.path for one in disk.scan(ROOT).found] == ["Dir", NFC, "\u00df"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("Dir/a.txt", "Dir/A.txt"), ("Dir", "dir"), (NFC, NFD), ("\u00df", "ss"), ("Dir/a.txt", "A.TXT")],
)
def test_a_rename_that_changes_only_the_spelling(disk: Disk, root: Path, old: str, new: str) -> None:
    before = disk.look(p(old))
    disk.rename(p(old), p(new))
    after = disk.look(p(new))
    assert before and after and after.stamp.inode == before.stamp.inode
    assert disk.look(p(old)) is None
    assert Path(new).name in os.listdir((root / new).parent)
    assert not [name for name in os.listdir(root) if name.startswith(".evstore-")]


def test_a_rename_is_never_over_another_spelling(disk: Disk) -> None:
    disk.write(p("Dir/b.txt"), [b"b"], modified=NOW)
    with pytest.raises(Occupied):
        disk.rename(p("Dir/b.txt"), p("Dir/A.txt"))
    assert [one.path for one in disk.scan(p("Dir")).found] == ["Dir/a.txt", "Dir/b.txt"]


def test_a_log_over_the_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    with folding_disk(tmp_path / "far", "sshfs"):
        (tmp_path / "far/folder").mkdir()
        assert is_network(tmp_path / "far/folder/.evstore/log.db") == "fuse.sshfs"
        refused = evstore("serve", "far/folder", "--no-browser", cwd=tmp_path)
        assert refused.returncode == 1
        assert (
            "(fuse.sshfs)" in refused.stderr
            and "--db" in refused.stderr
            and "Traceback" not in refused.stderr
        )
        assert os.listdir(tmp_path / "far/folder") == []
        allowed = evstore(
            "serve", "far/folder", "--host", "256.0.0.1", "--no-browser", "--db", "log.db", cwd=tmp_path
        )
        assert "network" not in allowed.stderr and (tmp_path / "log.db").exists()


async def respell(both: BothSides, begins: Callable[[], None]) -> None:
    both.write(".evstoreignore", b"*.big\n")
    await both.open()
    await both.contents.create_directory(p("d"), Author.new(AUTHOR))
    await both.save("d/a", b"one")
    both.write("d/kept.big", b"kept")
    await both.folder.note()
    begins()
    await both.contents.move(p("d"), p("D"), Author.new(AUTHOR))
    await both.folder.close()


async def test_a_rename_that_changes_only_the_spelling_and_a_process_that_is_killed(tmp_path: Path) -> None:
    for calls in itertools.count(1):
        place = tmp_path / str(calls)
        (place / "folder").mkdir(parents=True)
        with folding_disk(place / "folder"):
            left = run(place, respell, calls)
            both = BothSides(place)
            await both.open()
            await both.folder.settled()
            assert sorted(both.disk()) == ["D", "D/a", "D/kept.big"]
            assert sorted(await both.tree()) == ["D", "D/a"]
            assert os.listdir(both.root / ".evstore/tmp") == []
            await both.close()
        if left:
            break
    assert calls > 2
