"""The served folder on the disk: what is read and changed there, and what never is."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evstore.disk.disk import (
    Changed,
    Disk,
    FolderFailed,
    FolderGone,
    Found,
    Occupied,
    Stamp,
    Unreadable,
    What,
)
from evstore.disk.renaming import exchange
from evstore.errors import EvstoreError, Invalid, NotFound
from evstore.paths import ContentPath

NOW = 1_700_000_000_000_000  # µs since 1970
ROOT = ContentPath()


def p(path: str) -> ContentPath:
    return ContentPath(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def disk(root: Path) -> Iterator[Disk]:
    disk = Disk(root)
    yield disk
    disk.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the folder, with a secret in it."""
    directory = tmp_path / "folder-outside"
    (directory / "below").mkdir(parents=True)
    (directory / "secret.txt").write_text("secret")
    return directory


def write(disk: Disk, path: str, body: bytes = b"new") -> Stamp:
    return disk.write(p(path), [body], modified=NOW)


def leftovers(root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in root.rglob("*evstore-*")]


# reading


def test_what_is_found(disk: Disk, root: Path) -> None:
    (root / "a").mkdir()
    (root / "a/b.txt").write_bytes(b"12345")
    (root / "a/b.txt").chmod(0o640)
    os.utime(root / "a/b.txt", ns=(0, 1_234_567_890_123_456_789))
    found = disk.look(p("a/b.txt"))
    assert found is not None
    assert (found.path, found.what, found.mode) == ("a/b.txt", What.FILE, 0o640)
    there = (root / "a/b.txt").stat()
    assert found.stamp == Stamp(5, 1_234_567_890_123_456_789, there.st_ino, there.st_ctime_ns)
    assert found.modified == 1_234_567_890_123_456
    assert (directory := disk.look(p("a"))) and directory.what is What.DIRECTORY
    assert (top := disk.look(ROOT)) and top.what is What.DIRECTORY


@pytest.mark.parametrize("path", ["none", "a/none", "none/b", "file/below", "x" * 300, "x" * 300 + "/a"])
def test_what_is_not_there(disk: Disk, root: Path, path: str) -> None:
    (root / "a").mkdir()
    (root / "file").touch()
    assert disk.look(p(path)) is None
    with pytest.raises(NotFound):
        disk.scan(p(path))
    with pytest.raises(NotFound):
        disk.open(p(path))


def test_dates_that_no_calendar_has(disk: Disk, root: Path) -> None:
    for name, seconds in (("early", -1_000_000), ("late", 2**33)):
        (root / name).touch()
        os.utime(root / name, (seconds, seconds))
    assert (early := disk.look(p("early"))) and early.modified == 0
    assert (late := disk.look(p("late"))) and late.modified == 2**33 * 1_000_000


def test_a_directory(disk: Disk, root: Path, outside: Path) -> None:
    for name in ("b.txt", "a.txt", ".hidden", "ä"):
        (root / name).touch()
    (root / "d").mkdir()
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    write(disk, "through.txt")  # makes .evstore
    scan = disk.scan(ROOT)
    assert [(one.path, one.what.value) for one in scan.found] == [
        (".hidden", "file"),
        ("a.txt", "file"),
        ("b.txt", "file"),
        ("d", "directory"),
        ("link", "link"),
        ("pipe", "other"),
        ("through.txt", "file"),
        ("ä", "file"),
    ]
    assert scan.found == [disk.look(one.path) for one in scan.found]
    assert scan.skipped == []


def test_names_that_no_entry_can_have(disk: Disk, root: Path) -> None:
    for name in (b"latin-\xe9.txt", b"back\\slash", b"good.txt"):
        os.close(os.open(os.fsencode(root / "x")[:-1] + name, os.O_CREAT))
    scan = disk.scan(ROOT)
    assert [one.path for one in scan.found] == ["good.txt"]
    assert [one.path for one in scan.skipped] == ["back\\slash", "latin-\\udce9.txt"]
    assert all("no entry can have" in one.reason for one in scan.skipped)


def test_a_file_is_read(disk: Disk, root: Path) -> None:
    (root / "a.txt").write_bytes(b"12345")
    file, found = disk.open(p("a.txt"))
    with file:
        assert file.read() == b"12345"
    assert found == disk.look(p("a.txt"))


# what is never followed or reached


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
    assert (found := disk.look(p("it"))) and found.what in (What.LINK, What.OTHER)
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


ATTEMPTS: dict[str, Callable[[Disk, ContentPath], object]] = {
    "scan": lambda disk, path: disk.scan(path),
    "open": lambda disk, path: disk.open(path.child("secret.txt")),
    "write": lambda disk, path: write(disk, path.child("secret.txt")),
    "write new": lambda disk, path: write(disk, path.child("new.txt")),
    "make": lambda disk, path: disk.make_directory(path.child("new")),
    "rename out": lambda disk, path: disk.rename(p("own.txt"), path.child("own.txt")),
    "rename in": lambda disk, path: disk.rename(path.child("secret.txt"), p("in.txt")),
    "discard": lambda disk, path: disk.discard(path.child("secret.txt"), "1"),
    "remove": lambda disk, path: disk.remove_file(path.child("secret.txt")),
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
    for attempt in (disk.scan, disk.open, disk.remove_file, disk.remove_directory, disk.make_directory):
        with pytest.raises(NotFound):
            attempt(p(".evstore"))
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


# writing


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
    disk.sweep()
    assert os.listdir(root / ".evstore/tmp") == []
    assert sorted(os.listdir(root)) == [".evstore", "a.txt"]
    assert sorted(os.listdir(outside)) == [".evstore-tmp-4", "below", "secret.txt"]


# directories, renames, removals


def test_a_directory_is_made(disk: Disk, root: Path) -> None:
    stamp = disk.make_directory(p("d"))
    assert (root / "d").is_dir() and stamp == disk.make_directory(p("d"))
    with pytest.raises(NotFound):
        disk.make_directory(p("none/d"))
    (root / "f").touch()
    with pytest.raises(Occupied):
        disk.make_directory(p("f"))


def test_a_rename(disk: Disk, root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f").write_text("f")
    before = disk.look(p("d/e/f"))
    disk.rename(p("d"), p("d2"))
    disk.rename(p("d2/e/f"), p("g"))
    after = disk.look(p("g"))
    assert before and after and after.stamp.is_moved(before.stamp)
    assert sorted(os.listdir(root)) == ["d2", "g"]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("f", "g", Occupied),
        ("f", "d", Occupied),
        ("d", "f", Occupied),
        ("d", "e", Occupied),
        ("f", "link", Occupied),
        ("none", "x", NotFound),
        ("f", "none/x", NotFound),
        ("d", "d/x", FolderFailed),
        ("", "x", Invalid),
        ("f", "", Occupied),
        ("f", "hard", Occupied),
        ("f", "back\\slash", Invalid),
    ],
)
def test_a_rename_that_can_not_be(
    disk: Disk, root: Path, old: str, new: str, error: type[EvstoreError]
) -> None:
    for name in "fg":
        (root / name).write_text(name)
    for name in "de":
        (root / name).mkdir()
    (root / "link").symlink_to("nowhere")
    os.link(root / "f", root / "hard")
    before = {file: file.lstat().st_ino for file in root.rglob("*")}
    with pytest.raises(error):
        disk.rename(p(old), p(new))
    assert {file: file.lstat().st_ino for file in root.rglob("*")} == before


def test_a_rename_to_itself_is_nothing(disk: Disk, root: Path) -> None:
    (root / "a").write_text("a")
    disk.rename(p("a"), p("a"))
    assert (root / "a").read_text() == "a"


def test_what_is_discarded_is_in_the_trash(disk: Disk, root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f").write_text("f")
    disk.discard(p("d"), "1")
    assert (root / ".evstore/trash/1/e/f").read_text() == "f" and disk.look(p("d")) is None
    (root / "g").touch()
    with pytest.raises(Occupied):
        disk.discard(p("g"), "1")
    disk.discard(p("g"), "2")
    assert sorted(os.listdir(root / ".evstore/trash")) == ["1", "2"]


def test_what_is_removed(disk: Disk, root: Path, outside: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "f").touch()
    (root / "link").symlink_to(outside)
    for path in (p("d"), p("f")):
        with pytest.raises((Occupied, NotFound)):
            disk.remove_directory(path)
    with pytest.raises(Occupied):
        disk.remove_file(p("d"))
    for path in (p("f"), p("link")):
        disk.remove_file(path)
        with pytest.raises(NotFound):
            disk.remove_file(path)
    disk.remove_directory(p("d/e"))
    assert [one.path for one in disk.scan(ROOT).found] == ["d"]
    assert (outside / "secret.txt").exists()


def test_the_folder_itself_stays(disk: Disk, root: Path) -> None:
    for attempt in (disk.remove_directory, disk.remove_file, lambda path: disk.discard(path, "1")):
        with pytest.raises(Invalid):
            attempt(ROOT)
    assert root.is_dir()


# a folder that goes away


def test_a_folder_that_is_gone_is_not_an_empty_one(disk: Disk, root: Path) -> None:
    write(disk, "a.txt")
    root.rename(root.with_name("away"))
    attempts: list[Callable[[], object]] = [
        lambda: disk.look(p("a.txt")),
        lambda: disk.scan(ROOT),
        lambda: disk.open(p("a.txt")),
        lambda: write(disk, "a.txt"),
    ]
    for fresh in (False, True):  # an empty directory in its place: what a disk had been mounted over
        if fresh:
            root.mkdir()
        for attempt in attempts:
            with pytest.raises(FolderGone):
                attempt()
        assert not disk.writable(p("a.txt"))
    root.rmdir()
    root.symlink_to(root.with_name("away"))
    with pytest.raises(FolderGone):
        disk.look(p("a.txt"))
    root.unlink()
    root.with_name("away").rename(root)
    assert isinstance(disk.look(p("a.txt")), Found)


def test_a_folder_that_comes_back_with_other_numbers(disk: Disk, root: Path) -> None:
    write(disk, "a.txt")
    root.rename(root.with_name("away"))
    (root / ".evstore").mkdir(parents=True)
    (root / "a.txt").write_text("copied")
    file, _ = disk.open(p("a.txt"))
    with file:
        assert file.read() == b"copied"


def test_a_folder_that_was_never_there(tmp_path: Path) -> None:
    with pytest.raises(FolderFailed) as failed:
        Disk(tmp_path / "none")
    assert str(tmp_path) not in failed.value.message


def test_ordinary_disks_tell_names_apart(disk: Disk, root: Path) -> None:
    (root / "probe").touch()
    if (root / "PROBE").exists():
        assert disk.folds
        return
    assert not disk.folds
    for name in ("Makefile", "makefile", "caf\u00e9", "cafe\u0301", "CAF\u00c9"):
        write(disk, name, name.encode())
    assert {one.path: disk.open(one.path)[0].read().decode() for one in disk.scan(ROOT).found} == {
        name: name if name != "probe" else ""
        for name in ("Makefile", "makefile", "caf\u00e9", "cafe\u0301", "CAF\u00c9", "probe")
    }
    disk.rename(p("Makefile"), p("MAKEFILE"))
    with pytest.raises(Occupied):
        disk.rename(p("makefile"), p("MAKEFILE"))
