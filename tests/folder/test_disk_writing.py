"""Files that are written: all at once, looking as before, and never over something that was not seen (invariant 18)."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evstore.core.errors import Invalid, NotFound
from evstore.worktree.disk.disk import Changed, Disk, Occupied
from evstore.worktree.disk.file_writer import UNFINISHED
from evstore.worktree.disk.renameat2 import exchange
from tests.folder.disks import NOW, ROOT, leftovers, p, write


def test_a_file_is_written(disk: Disk, root: Path) -> None:
    stamp = disk.write(p("a.txt"), iter([b"12", b"", b"345"]), modified=NOW + 1)
    assert (root / "a.txt").read_bytes() == b"12345"
    assert (root / "a.txt").stat().st_mtime_ns == (NOW + 1) * 1000
    assert (found := disk.look(p("a.txt"))) and found.stamp == stamp and found.modified == NOW + 1
    assert leftovers(root) == []


def test_a_new_file_has_the_mode_of_a_new_file(disk: Disk, root: Path) -> None:
    write(disk, "ours")
    (root / "theirs").touch()
    assert (root / "ours").stat().st_mode == (root / "theirs").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o664])
def test_a_replaced_file_keeps_its_mode(disk: Disk, root: Path, mode: int) -> None:
    (root / "a.sh").write_text("old")
    (root / "a.sh").chmod(mode)
    write(disk, "a.sh")
    assert stat.S_IMODE((root / "a.sh").stat().st_mode) == mode
    assert (root / "a.sh").read_text() == "new"


def test_a_replaced_file_keeps_its_attributes(disk: Disk, root: Path) -> None:
    (root / "a").write_text("old")
    try:
        os.setxattr(root / "a", "user.colour", b"red")
    except OSError:
        pytest.skip("this disk knows no attributes")
    write(disk, "a")
    assert os.getxattr(root / "a", "user.colour") == b"red"


def test_who_reads_the_old_file_reads_on(disk: Disk, root: Path) -> None:
    (root / "a").write_bytes(b"old" * 100_000)
    with (root / "a").open("rb") as reader:
        start = reader.read(10)
        write(disk, "a")
        assert start + reader.read() == b"old" * 100_000


def test_what_fails_half_way_leaves_nothing(disk: Disk, root: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise Invalid("the body ends here")

    (root / "old").write_text("old")
    for path in ("old", "new"):
        with pytest.raises(Invalid, match="the body ends here"):
            disk.write(p(path), pieces(), modified=NOW)
    assert sorted(os.listdir(root)) == [".evstore", "old"] and (root / "old").read_text() == "old"
    assert os.listdir(root / ".evstore/tmp") == []


def test_only_what_was_expected_is_replaced(disk: Disk, root: Path) -> None:
    first = disk.write(p("a"), [b"1"], modified=NOW, replacing="nothing")
    with pytest.raises(Changed):
        disk.write(p("a"), [b"2"], modified=NOW, replacing="nothing")
    second = disk.write(p("a"), [b"2"], modified=NOW, replacing=first)
    with pytest.raises(Changed):
        disk.write(p("a"), [b"3"], modified=NOW, replacing=first)
    (root / "a").unlink()
    with pytest.raises(Changed):
        disk.write(p("a"), [b"3"], modified=NOW, replacing=second)
    assert not (root / "a").exists()


def test_what_changes_while_the_new_is_written_is_not_replaced(disk: Disk, root: Path) -> None:
    def pieces() -> Iterator[bytes]:
        (root / "a").write_bytes(b"theirs")
        yield b"ours"

    with pytest.raises(Changed):
        disk.write(p("a"), pieces(), modified=NOW, replacing="nothing")
    found = disk.look(p("a"))
    assert found is not None
    os.utime(root / "a", (0, 0))
    with pytest.raises(Changed):
        disk.write(p("a"), pieces(), modified=NOW, replacing=found.stamp)
    assert (root / "a").read_bytes() == b"theirs" and leftovers(root) == []


def test_nothing_is_replaced_unseen(disk: Disk, root: Path) -> None:
    """Somebody else replaces the file all the time; ours says which of his it was written after.

    For a moment he may find one of ours that is refused then, or one of his own from before: in the end his last is there.
    """
    put = ["0"]  # what he has put there, in this order
    unseen: list[tuple[str, str]] = []
    stop = threading.Event()
    (root / "it").write_text("0")
    (root / "his").mkdir()
    (root / "his/file").touch()
    top = os.open(root, os.O_RDONLY)
    if not exchange("his/file", "it", top, top):
        os.close(top)
        pytest.skip("this disk can't exchange files")
    exchange("his/file", "it", top, top)

    def replace() -> None:
        while not stop.is_set():
            his = root / "his/file"
            his.write_text(f"{len(put)}")
            exchange("his/file", "it", top, top)
            if (replaced := his.read_text()).rpartition(" ")[2] != put[-1]:
                unseen.append((replaced, put[-1]))
            put.append(f"{len(put)}")

    thread = threading.Thread(target=replace)
    thread.start()
    written: set[str] = set()
    refused = number = 0
    while len(written) < 100 or refused < 10:
        number += 1
        file, found = disk.open(p("it"))
        with file:
            ours = f"our {number}. after {file.read().decode().rpartition(' ')[2]}"
        try:
            disk.write(p("it"), [ours.encode()], modified=NOW, replacing=found.stamp)
            written.add(ours)
        except Changed:
            refused += 1
    stop.set()
    thread.join()
    os.close(top)
    assert [pair for pair in unseen if pair[0] in written] == []
    assert (root / "it").read_text().rpartition(" ")[2] == put[-1]
    assert leftovers(root) == []


@pytest.mark.parametrize("path", ["none/a", "file/a", "dir", "", ".evstore/a"])
def test_where_nothing_can_be_written(disk: Disk, root: Path, path: str) -> None:
    (root / "file").touch()
    (root / "dir").mkdir()
    with pytest.raises((NotFound, Occupied, Invalid)):
        write(disk, path)
    assert not disk.writable(p(path))
    assert sorted(one.path for one in disk.scan(ROOT).found) == ["dir", "file"] and leftovers(root) == []


def test_many_write_one_file(disk: Disk, root: Path) -> None:
    def many(letter: bytes) -> None:
        for _ in range(200):
            disk.write(p("a"), [letter * 5000], modified=NOW)

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(many, letter) for letter in (b"a", b"b", b"c")]
        while not all(writer.done() for writer in writers):
            if disk.look(p("a")):
                body = (root / "a").read_bytes()
                assert len(body) == 5000 and len(set(body)) == 1
        for writer in writers:
            writer.result()
    assert leftovers(root) == []


def test_leftovers_of_a_crash_are_swept(disk: Disk, root: Path, outside: Path) -> None:
    write(disk, "a.txt")
    (root / ".evstore/tmp/.evstore-tmp-1").write_text("half")
    (root / ".evstore/tmp/.evstore-tmp-2").symlink_to(outside / "secret.txt")
    (root / ".evstore/tmp/.evstore-tmp-3").symlink_to("a.txt")
    (root / ".evstore/tmp/.evstore-tmp-4").symlink_to("../folder-outside/.evstore-tmp-4")
    (root / ".evstore-tmp-5").write_text("half")
    (root / ".evstore/tmp/.evstore-tmp-5").symlink_to(".evstore-tmp-5")
    (outside / ".evstore-tmp-4").touch()
    for unfinished in (root / ".evstore/tmp/.evstore-tmp-1", root / ".evstore-tmp-5"):
        unfinished.chmod(UNFINISHED)
    (root / ".evstore/tmp/.evstore-tmp-6").write_text("known")
    (root / ".evstore/tmp/.evstore-tmp-7").write_text("precious")
    (root / "d").mkdir()
    (root / "d/.evstore-tmp-8").write_text("precious, too")
    (root / ".evstore/tmp/.evstore-tmp-8").symlink_to("d/.evstore-tmp-8")
    left = disk.sweep(lambda file: file.read() == b"known")
    there = [(root / ".evstore/trash" / name).read_text() for name in left]
    assert (
        sorted(there)
        == ["precious", "precious, too"]
        == sorted(file.read_text() for file in (root / ".evstore/trash").iterdir())
    )
    assert os.listdir(root / "d") == []
    (root / "d").rmdir()
    assert os.listdir(root / ".evstore/tmp") == []
    assert sorted(os.listdir(root)) == [".evstore", "a.txt"]
    assert sorted(os.listdir(outside)) == [".evstore-tmp-4", "below", "secret.txt"]


def test_a_rename_that_a_crash_has_left_halfway_is_finished(disk: Disk, root: Path) -> None:
    write(disk, "a.txt")
    (root / "d").mkdir()
    for number, name in enumerate(("A.txt", "taken", "../up", "")):
        (root / f"d/.evstore-renamed-{number}").write_text(name)
        note = root / f".evstore/tmp/.evstore-renamed-{number}"
        note.write_text(f"d/.evstore-renamed-{number}\0{name}")
    (root / "d/taken").write_text("his")
    (root / ".evstore/tmp/.evstore-renamed-4").write_text("gone/.evstore-renamed-4\0name")
    (root / ".evstore/tmp/.evstore-renamed-5").write_text("d/taken\0mine")
    (left,) = disk.sweep(lambda file: False)
    assert (root / ".evstore/trash" / left).read_text() == "taken"
    assert {file.name: file.read_text() for file in (root / "d").iterdir()} == {
        "A.txt": "A.txt",
        "taken": "his",
        ".evstore-renamed-2": "../up",
        ".evstore-renamed-3": "",
    }
    assert os.listdir(root / ".evstore/tmp") == []
