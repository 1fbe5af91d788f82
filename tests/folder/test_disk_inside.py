"""Nothing leads out of the folder, or to evstore's own, whatever lies on the way and whenever it comes there (invariant 19)."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evstore.core.errors import Invalid, NotFound
from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, FileType, Occupied, StatStamp, Unreadable
from tests.folder.disks import ROOT, leftovers, p, write


def hostile(root: Path, outside: Path) -> dict[str, Callable[[Path], None]]:
    return {
        "link": lambda at: at.symlink_to(outside / "secret.txt"),
        "relative": lambda at: at.symlink_to("../folder-outside/secret.txt"),
        "inside": lambda at: at.symlink_to("real.txt"),
        "broken": lambda at: at.symlink_to("nowhere"),
        "loop": lambda at: at.symlink_to(at.name),
        "directory link": lambda at: at.symlink_to(outside),
        "pipe": lambda at: os.mkfifo(at),
        "socket": bind_socket,
        "device": make_device,
    }


def make_device(at: Path) -> None:
    try:
        os.mknod(at, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make devices, and not in every container")


def bind_socket(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        descriptor = os.open(at.parent, os.O_RDONLY)  # the name of a socket is at most 107 bytes long
        try:
            one.bind(f"/proc/self/fd/{descriptor}/{at.name}")
        finally:
            os.close(descriptor)


@pytest.mark.parametrize(
    "kind", ["link", "relative", "inside", "broken", "loop", "directory link", "pipe", "socket", "device"]
)
def test_what_is_no_file_is_neither_read_nor_replaced(
    disk: Disk, root: Path, outside: Path, kind: str
) -> None:
    (root / "real.txt").write_text("real")
    hostile(root, outside)[kind](root / "it")
    before = os.lstat(root / "it")
    assert (found := disk.look(p("it"))) and found.what in (FileType.LINK, FileType.OTHER)
    with pytest.raises(
        Unreadable, match=r"^it can't be read \(a (symbolic link|pipe|socket|device) on the disk\)$"
    ):
        disk.open(p("it"))
    with pytest.raises(Occupied):
        write(disk, "it")
    with pytest.raises(Occupied):
        disk.make_directory(p("it"))
    assert not disk.writable(p("it"))
    assert os.lstat(root / "it") == before
    assert (outside / "secret.txt").read_text() == "secret" and (root / "real.txt").read_text() == "real"
    assert leftovers(root) == []


NEVER = StatStamp(0, 0, 0, 0)

ATTEMPTS: dict[str, Callable[[Disk, ContentPath], object]] = {
    "scan": lambda disk, path: disk.scan(path),
    "open": lambda disk, path: disk.open(path.child("secret.txt")),
    "write": lambda disk, path: write(disk, path.child("secret.txt")),
    "write new": lambda disk, path: write(disk, path.child("new.txt")),
    "make": lambda disk, path: disk.make_directory(path.child("new")),
    "rename out": lambda disk, path: disk.rename(p("own.txt"), path.child("own.txt")),
    "rename in": lambda disk, path: disk.rename(path.child("secret.txt"), p("in.txt")),
    "discard": lambda disk, path: disk.discard(path.child("secret.txt"), "1"),
    "remove": lambda disk, path: disk.remove_file(path.child("secret.txt"), NEVER),
    "remove directory": lambda disk, path: disk.remove_directory(path.child("below")),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize(
    "way", ["out", "a/out", "..", "a/../..", "a/../../folder-outside", ".", ".evstore", "a/.EVSTORE"]
)
def test_there_is_no_way_out(disk: Disk, root: Path, outside: Path, attempt: str, way: str) -> None:
    (root / "a").mkdir()
    (root / "own.txt").write_text("own")
    (root / "out").symlink_to(outside)
    (root / "a/out").symlink_to("../../folder-outside")
    for state in (root / ".evstore", root / "a/.EVSTORE"):
        (state / "below").mkdir(parents=True)
        (state / "secret.txt").write_text("secret")
    before = sorted(root.parent.rglob("*"))
    with pytest.raises((NotFound, Invalid)):
        ATTEMPTS[attempt](disk, p(way))
    assert disk.look(p(way).child("secret.txt")) is None
    assert not disk.writable(p(way).child("secret.txt"))
    assert sorted(root.parent.rglob("*")) == before
    assert (outside / "secret.txt").read_text() == "secret" and (root / "own.txt").read_text() == "own"


def test_evstores_own_is_not_there(disk: Disk, root: Path) -> None:
    write(disk, "a.txt")
    assert (root / ".evstore/.gitignore").read_bytes() == b"*\n"
    assert stat.S_IMODE((root / ".evstore").stat().st_mode) == 0o700
    assert [one.path for one in disk.scan(ROOT).found] == ["a.txt"]
    for attempt in (disk.scan, disk.open, disk.remove_directory, disk.make_directory):
        with pytest.raises(NotFound):
            attempt(p(".evstore"))
    with pytest.raises(NotFound):
        disk.remove_file(p(".evstore"), NEVER)
    with pytest.raises(NotFound):
        disk.rename(p(".evstore"), p("mine"))


@pytest.fixture
def swapping(root: Path, outside: Path) -> Iterator[None]:
    """While it lasts, `a/x` is by turns a directory and a link to one outside the folder."""
    (root / "a/x").mkdir(parents=True)
    (root / "a/link").symlink_to(outside)
    (root / "a/x/secret.txt").write_text("inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for here, there in (("x", "kept"), ("link", "x"), ("x", "link"), ("kept", "x")):
                os.rename(root / "a" / here, root / "a" / there)

    thread = threading.Thread(target=swap)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("swapping")
def test_a_directory_that_becomes_a_link_leads_nowhere(disk: Disk, outside: Path) -> None:
    read = written = refused = 0
    before = sorted(outside.rglob("*"))
    number = 0
    while min(read, written, refused) < 50:
        number += 1
        try:
            file, _ = disk.open(p("a/x/secret.txt"))
            with file:
                assert file.read() in (b"inside", b"new")
            read += 1
            write(disk, "a/x/secret.txt")
            disk.make_directory(p(f"a/x/{number}"))
            disk.rename(p(f"a/x/{number}"), p(f"a/x/{number}-moved"))
            disk.remove_directory(p(f"a/x/{number}-moved"))
            written += 1
        except (NotFound, Occupied):
            refused += 1
    assert sorted(outside.rglob("*")) == before
    assert (outside / "secret.txt").read_text() == "secret"
