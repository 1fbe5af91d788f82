"""Disks that are full, read-only, or several; files that are not ours. Nothing is left behind, and every refusal is a sentence."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from evstore.core.errors import EvstoreError, NotFound
from evstore.worktree.disk.disk import (
    Disk,
    FileType,
    FolderFailed,
    FolderFull,
    FolderReadOnly,
    Occupied,
    OtherDisk,
    Unreadable,
)
from tests.folder.disks import NOW, ROOT, leftovers, p, stamp_of, write
from tests.folder.mounts import mounted, remount, without_rights

NONE = 0xFFFFFFFF  # no user


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that every user may enter."""
    made = tempfile.mkdtemp(prefix="evstore-test-")
    os.chmod(made, 0o755)
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture
def small(root: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    with mounted(root, "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "tmpfs"):
        yield root


def says_nothing_of(root: Path, error: EvstoreError) -> bool:
    return str(root) not in error.message and error.message[-1] in ")y"


def test_a_full_disk_keeps_what_it_has(small: Path) -> None:
    disk = Disk(small)
    first = write(disk, "a.txt", b"x" * 500_000)
    for path in ("a.txt", "b.txt"):
        with pytest.raises(FolderFull) as full:
            disk.write(p(path), [b"y" * 100_000] * 10, modified=NOW)
        assert says_nothing_of(small, full.value)
    assert (found := disk.look(p("a.txt"))) and found.stamp == first
    assert (small / "a.txt").read_bytes() == b"x" * 500_000 and leftovers(small) == []
    assert disk.look(p("b.txt")) is None
    write(disk, "c.txt", b"z" * 300_000)


def test_a_disk_without_room_for_names(small: Path) -> None:
    disk = Disk(small)
    made = 0
    with suppress(FolderFull):
        while True:
            made += bool(disk.make_directory(p(f"d{made}")))
    assert 10 < made < 64
    with pytest.raises(FolderFull):
        write(disk, "a.txt")


CHANGES: dict[str, Callable[[Disk], object]] = {
    "replace": lambda disk: write(disk, "d/a.txt"),
    "write": lambda disk: write(disk, "d/new.txt"),
    "make": lambda disk: disk.make_directory(p("d/new")),
    "rename": lambda disk: disk.rename(p("d/a.txt"), p("d/b.txt")),
    "discard": lambda disk: disk.discard(p("d/a.txt"), "1"),
    "remove": lambda disk: disk.remove_file(p("d/a.txt"), stamp_of(disk, "d/a.txt")),
    "remove directory": lambda disk: disk.remove_directory(p("d/e")),
}


def fill(root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d/a.txt").write_text("old")


@pytest.mark.parametrize("change", CHANGES)
def test_a_read_only_disk_is_read(small: Path, change: str) -> None:
    fill(small)
    disk = Disk(small)
    remount(small, "ro")
    assert [one.path for one in disk.scan(p("d")).found] == ["d/a.txt", "d/e"]
    assert not disk.writable(p("d/a.txt")) and not disk.writable(p("new.txt"))
    with pytest.raises(FolderReadOnly) as refused:
        CHANGES[change](disk)
    assert says_nothing_of(small, refused.value)
    file, _ = disk.open(p("d/a.txt"))
    with file:
        assert file.read() == b"old"


@pytest.mark.parametrize("change", CHANGES)
def test_a_directory_of_somebody_else_stays_as_it_is(root: Path, change: str) -> None:
    fill(root)
    (root / "d").chmod(0o555)
    with without_rights(root):
        disk = Disk(root)
        assert (
            not disk.writable(p("d/a.txt")) and not disk.writable(p("d/new.txt")) and disk.writable(p("new"))
        )
        with pytest.raises(FolderReadOnly) as refused:
            CHANGES[change](disk)
        assert says_nothing_of(root, refused.value)
    (root / "d").chmod(0o755)
    assert (root / "d/a.txt").read_text() == "old" and (root / "d/e").is_dir() and leftovers(root) == []


def test_a_file_that_its_owner_protects_stays_as_it_is(root: Path) -> None:
    (root / "a.txt").write_text("old")
    (root / "a.txt").chmod(0o444)
    with without_rights(root, root / "a.txt"):
        disk = Disk(root)
        assert not disk.writable(p("a.txt"))
        with pytest.raises(FolderReadOnly, match="read-only"):
            write(disk, "a.txt")
        disk.rename(p("a.txt"), p("b.txt"))  # that is a matter of the directory
    assert (root / "b.txt").read_text() == "old"


def test_a_file_of_somebody_else_that_all_may_change(root: Path) -> None:
    (root / "a.txt").write_text("old")
    (root / "a.txt").chmod(0o4666)
    with without_rights(root):
        write(Disk(root), "a.txt")
    mode = (root / "a.txt").stat().st_mode
    assert (root / "a.txt").read_text() == "new" and stat.S_IMODE(mode) == (
        0o666 if os.getuid() == 0 else 0o4666
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_root_leaves_files_to_their_owners(root: Path) -> None:
    (root / "a.txt").write_text("old")
    os.chown(root / "a.txt", 1234, 4321)
    write(Disk(root), "a.txt")
    found = (root / "a.txt").stat()
    assert (found.st_uid, found.st_gid) == (1234, 4321)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can choose any group")
def test_a_shared_directory_gives_its_group_to_what_is_new(root: Path) -> None:
    (root / "shared").mkdir()
    os.chown(root / "shared", -1, 4321)
    (root / "shared").chmod(0o2775)
    disk = Disk(root)
    write(disk, "shared/a.txt")
    disk.make_directory(p("shared/d"))
    assert (root / "shared/a.txt").stat().st_gid == (root / "shared/d").stat().st_gid == 4321


def test_a_directory_gives_rights_to_what_is_new(root: Path) -> None:
    """By a default access control list: read and write for the user 1234."""
    entries = [(0x01, 7, NONE), (0x02, 6, 1234), (0x04, 5, NONE), (0x10, 7, NONE), (0x20, 0, NONE)]
    rights = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    (root / "shared").mkdir()
    try:
        os.setxattr(root / "shared", "system.posix_acl_default", rights)
    except OSError:
        pytest.skip("this disk knows no access control lists")
    disk = Disk(root)
    write(disk, "shared/ours")
    (root / "shared/theirs").touch()
    ours, theirs = (
        os.getxattr(root / "shared" / one, "system.posix_acl_access") for one in ("ours", "theirs")
    )
    assert ours == theirs
    write(disk, "shared/ours", b"again")
    assert os.getxattr(root / "shared/ours", "system.posix_acl_access") == ours
    assert leftovers(root) == []


def test_what_can_not_be_read_is_not_gone(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/a.txt").write_text("secret")
    (root / "f.txt").write_text("secret")
    (root / "d").chmod(0o000)
    (root / "f.txt").chmod(0o000)
    with without_rights(root):
        disk = Disk(root)
        reads: list[Callable[[], object]] = [
            lambda: disk.look(p("d/a.txt")),
            lambda: disk.look(p("d/none")),
            lambda: disk.scan(p("d")),
            lambda: disk.open(p("d/a.txt")),
            lambda: disk.open(p("f.txt")),
        ]
        for read in reads:
            with pytest.raises(Unreadable) as refused:
                read()
            assert says_nothing_of(root, refused.value)
        assert [(one.path, one.what) for one in disk.scan(ROOT).found] == [
            ("d", FileType.DIRECTORY),
            ("f.txt", FileType.FILE),
        ]
    (root / "d").chmod(0o755)


def test_a_directory_that_may_be_listed_but_not_entered(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/a.txt").touch()
    (root / "d").chmod(0o444)
    with without_rights(root), pytest.raises(Unreadable):
        Disk(root).scan(p("d"))  # names alone would look like files that are gone
    (root / "d").chmod(0o755)


def test_a_directory_that_may_be_entered_but_not_listed(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/a.txt").write_text("a")
    (root / "d").chmod(0o311)
    with without_rights(root):
        disk = Disk(root)
        assert disk.look(p("d/a.txt"))
        file, _ = disk.open(p("d/a.txt"))
        file.close()
        with pytest.raises(Unreadable):
            disk.scan(p("d"))
    (root / "d").chmod(0o755)


# several disks in one folder


@pytest.fixture(params=["another disk", "the same disk twice"])
def two(root: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with `m` mounted in it."""
    if request.param == "another disk":
        with mounted(root / "m", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
            yield root
    else:
        (root / "elsewhere").mkdir()
        with mounted(root / "m", "--bind", str(root / "elsewhere")):
            yield root


def test_files_are_written_on_both(two: Path) -> None:
    disk = Disk(two)
    for path in ("m/a.txt", "a.txt"):
        write(disk, path, b"1")
        (two / path).chmod(0o640)
        stamp = write(disk, path, b"22")
        assert (found := disk.look(p(path))) and found.stamp == stamp and found.mode == 0o640
        assert (two / path).read_bytes() == b"22"
    assert leftovers(two) == []


def test_a_failed_write_leaves_nothing_on_either(two: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise InterruptedError("enough")

    with pytest.raises(EvstoreError):
        Disk(two).write(p("m/a.txt"), pieces(), modified=NOW)
    assert leftovers(two) == [] and os.listdir(two / "m") == []


def test_what_a_crash_leaves_on_another_disk_is_swept(two: Path) -> None:
    """The process ends in the middle of a write."""
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
    else:

        def pieces() -> Iterator[bytes]:
            yield b"half"
            os._exit(0)

        Disk(two).write(p("m/a.txt"), pieces(), modified=NOW)
    assert leftovers(two) != []
    assert Disk(two).sweep(lambda file: False) == []
    assert leftovers(two) == [] and os.listdir(two / "m") == []


def test_nothing_is_moved_between_disks(two: Path) -> None:
    disk = Disk(two)
    write(disk, "m/a.txt")
    with pytest.raises(OtherDisk):
        disk.rename(p("m/a.txt"), p("a.txt"))
    assert (two / "m/a.txt").read_bytes() == b"new"
    disk.rename(p("m/a.txt"), p("m/b.txt"))
    disk.remove_file(p("m/b.txt"), stamp_of(disk, "m/b.txt"))


def test_each_disk_has_its_trash(two: Path) -> None:
    disk = Disk(two)
    for path in ("m/d", "m/d/e", "d"):
        disk.make_directory(p(path))
    write(disk, "m/d/e/a.txt")
    disk.discard(p("m/d/e"), "1")
    disk.discard(p("d"), "2")
    assert disk.trashed.has("1") and disk.trashed.has("2") and not disk.trashed.has("3")
    assert [one.path for one in disk.scan(p("m")).found] == ["m/d"]
    assert disk.scan(p("m/d")).found == []
    disk.make_directory(p("m/d/f"))
    with pytest.raises(Occupied):
        disk.discard(p("m/d/f"), "1")
    with pytest.raises(Occupied):
        disk.recover("1", p("m/d"))
    with pytest.raises(OtherDisk):
        disk.recover("1", p("e"))
    disk.recover("1", p("m/back"))
    disk.recover("2", p("back"))
    assert (two / "m/back/a.txt").read_bytes() == b"new" and (two / "back").is_dir()
    assert not disk.trashed.has("1") and not disk.trashed.has("2")
    with pytest.raises(NotFound):
        disk.recover("1", p("m/again"))


def test_the_log_may_be_behind_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    (root / ".evstore").symlink_to(tmp_path / "fast")
    disk = Disk(root)
    write(disk, "a.txt")
    write(disk, "a.txt", b"newer")
    assert (root / "a.txt").read_bytes() == b"newer" and os.listdir(root) != []
    assert leftovers(root) == [] and os.listdir(tmp_path / "fast") == []
    assert [one.path for one in disk.scan(ROOT).found] == ["a.txt"]
    with pytest.raises(FolderFailed, match="--db"):
        disk.sweep(lambda file: False)
