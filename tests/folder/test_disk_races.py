"""Somebody else is faster, in the very moment that matters: what is his stays, and what he leads us to is not touched (invariants 18 and 19)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from evstore.core.errors import NotFound
from evstore.worktree.disk import file_writer
from evstore.worktree.disk.disk import Changed, Disk, Occupied, StatStamp, Unreadable
from tests.folder.disks import NOW, ROOT, leftovers, p, stamp_of, write

Deed = Callable[[], object]
JustBefore = Callable[..., None]


@pytest.fixture
def just_before(monkeypatch: pytest.MonkeyPatch) -> JustBefore:
    """`just_before(module, name, *deeds)`: each deed is done just before another call of that function."""

    def prepare(module: ModuleType, name: str, *deeds: Deed) -> None:
        function, waiting = getattr(module, name), list(deeds)

        def call(*args: object, **options: object) -> object:
            if waiting:
                waiting.pop(0)()
            return function(*args, **options)

        monkeypatch.setattr(module, name, call)

    return prepare


# while a file is written


@pytest.fixture
def old(disk: Disk, root: Path) -> StatStamp:
    """The stamp of the file `it`, which is to be replaced."""
    (root / "it").write_text("old")
    return stamp_of(disk, "it")


def replaced(root: Path, text: str) -> Deed:
    """As editors save: another file takes its place."""

    def deed() -> None:
        (root / "his").write_text(text)
        (root / "his").replace(root / "it")

    return deed


def changed_in_place(root: Path, text: str) -> Deed:
    return lambda: (root / "it").write_text(text)


@pytest.mark.parametrize("change", [replaced, changed_in_place])
@pytest.mark.parametrize("again", [False, True], ids=["once", "and again while it is given back"])
def test_what_came_at_the_last_moment_is_given_back(
    disk: Disk,
    root: Path,
    old: StatStamp,
    just_before: JustBefore,
    change: Callable[[Path, str], Deed],
    *,
    again: bool,
) -> None:
    deeds = [change(root, "his"), change(root, "his newest")] if again else [change(root, "his newest")]
    just_before(file_writer, "exchange", *deeds)
    with pytest.raises(Changed):
        disk.write(p("it"), [b"ours"], modified=NOW, replacing=old)
    assert (root / "it").read_text() == "his newest"
    assert sorted(os.listdir(root)) == [".evstore", "it"] and leftovers(root) == []


def test_a_directory_that_came_at_the_last_moment_is_given_back(
    disk: Disk, root: Path, old: StatStamp, just_before: JustBefore
) -> None:
    def deed() -> None:
        (root / "it").unlink()
        (root / "it").mkdir()
        (root / "it" / "below").write_text("his")

    just_before(file_writer, "exchange", deed)
    with pytest.raises(Changed):
        disk.write(p("it"), [b"ours"], modified=NOW)
    assert (root / "it" / "below").read_text() == "his" and leftovers(root) == []


@pytest.mark.parametrize("change", [replaced, changed_in_place])
def test_what_came_before_it_was_removed_stays(
    disk: Disk, root: Path, old: StatStamp, just_before: JustBefore, change: Callable[[Path, str], Deed]
) -> None:
    just_before(file_writer, "rename_new", change(root, "his"))
    with pytest.raises(Changed):
        disk.remove_file(p("it"), old)
    assert (root / "it").read_text() == "his"
    assert os.listdir(root) == ["it"]


def test_what_came_twice_before_it_was_removed_stays(
    disk: Disk, root: Path, old: StatStamp, just_before: JustBefore
) -> None:
    just_before(
        file_writer, "rename_new", replaced(root, "his"), lambda: (root / "it").write_text("his other")
    )
    with pytest.raises(Changed):
        disk.remove_file(p("it"), old)
    assert sorted(file.read_text() for file in root.iterdir()) == ["his", "his other"]
    assert disk.scan(ROOT).found[0].path.startswith(file_writer.KEPT)


def test_what_can_not_be_given_back_is_kept(
    disk: Disk, root: Path, old: StatStamp, just_before: JustBefore
) -> None:
    just_before(file_writer, "exchange", replaced(root, "his"), (root / "it").unlink)
    with pytest.raises(NotFound):
        disk.write(p("it"), [b"ours"], modified=NOW, replacing=old)
    for _ in range(2):
        (kept,) = (root / ".evstore/tmp").iterdir()
        assert kept.name.startswith(file_writer.KEPT) and kept.read_text() == "his"
        disk.sweep(lambda file: False)  # at the next start


def test_a_file_that_came_where_nothing_was(disk: Disk, root: Path, just_before: JustBefore) -> None:
    just_before(file_writer, "rename_new", lambda: (root / "it").write_text("his"))
    with pytest.raises(Changed):
        disk.write(p("it"), [b"ours"], modified=NOW, replacing="nothing")
    assert (root / "it").read_text() == "his" and leftovers(root) == []


def test_a_copy_of_what_only_its_owner_may_read_is_nobodys(disk: Disk, root: Path, old: StatStamp) -> None:
    """Not even for the moment in which it is written."""
    (root / "it").chmod(0o600)
    modes: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield b"half"
        modes.extend(file.stat().st_mode & 0o777 for file in (root / ".evstore/tmp").iterdir())

    disk.write(p("it"), pieces(), modified=NOW)
    assert modes == [file_writer.UNFINISHED]


# while a file is opened


def in_place_of(root: Path, make: Callable[[Path], object]) -> Deed:
    def deed() -> None:
        (root / "it").unlink()
        make(root / "it")

    return deed


def test_a_link_that_came_in_its_place_is_not_followed(
    disk: Disk, root: Path, outside: Path, old: StatStamp, just_before: JustBefore
) -> None:
    just_before(os, "open", in_place_of(root, lambda at: at.symlink_to(outside / "secret.txt")))
    with pytest.raises(NotFound):
        disk.open(p("it"))


@pytest.mark.timeout(20)
def test_a_pipe_that_came_in_its_place_is_not_waited_for(
    disk: Disk, root: Path, old: StatStamp, just_before: JustBefore
) -> None:
    just_before(os, "open", in_place_of(root, os.mkfifo))
    with pytest.raises(Unreadable, match="a pipe on the disk"):
        disk.open(p("it"))


def test_a_link_that_came_on_the_way_is_not_followed(
    disk: Disk, root: Path, outside: Path, just_before: JustBefore
) -> None:
    """Reached through a directory that is a link by then, nothing outside is read or written."""
    (root / "d").mkdir()

    def deed() -> None:
        (root / "d").rmdir()
        (root / "d").symlink_to(outside)

    just_before(os, "open", deed)
    with pytest.raises(NotFound):
        disk.open(p("d/secret.txt"))
    (root / "d").unlink()
    (root / "d").mkdir()
    just_before(os, "open", deed)
    with pytest.raises((NotFound, Occupied)):
        write(disk, "d/secret.txt")
    assert (outside / "secret.txt").read_text() == "secret"
