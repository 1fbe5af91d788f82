"""What programs move, replace or bring back on the disk is the entry that it was: its history goes on."""

from __future__ import annotations

import shutil

from tests.folder.both_sides import BothSides, digest

WRITTEN = ["EntryCreated", "FileSaved"]


async def test_a_file_that_was_copied_and_then_deleted_has_moved(both: BothSides) -> None:
    """As over the border of two disks: told by its bytes."""
    await both.save("a.txt", b"one")
    shutil.copyfile(both.root / "a.txt", both.root / "b.txt")
    both.remove("a.txt")
    await both.agree()
    assert await both.events("b.txt") == [*WRITTEN, "EntryMoved"]


async def test_empty_files_are_not_told_apart_by_their_bytes(both: BothSides) -> None:
    both.write("a.txt", b"")
    await both.agree()
    both.write("b.txt", b"")
    both.remove("a.txt")
    await both.agree()
    assert "EntryMoved" not in await both.events("b.txt")


async def test_a_file_that_comes_back_is_the_one_that_went(both: BothSides) -> None:
    await both.save("a.txt", b"one")
    both.remove("a.txt")
    assert await both.agree() == {}
    both.write("a.txt", b"two")
    assert await both.agree() == {"a.txt": digest(b"two")}
    assert await both.events("a.txt") == [*WRITTEN, "EntryDeleted", "EntryUndeleted", "FileSaved"]


async def test_a_directory_that_comes_back_is_the_one_that_went(both: BothSides) -> None:
    (both.root / "d").mkdir()
    for name in ("a.txt", "b.txt"):
        both.write(f"d/{name}", name.encode())
    await both.agree()
    both.remove("d")
    assert await both.agree() == {}
    (both.root / "d").mkdir()
    both.write("d/a.txt", b"again")
    assert await both.agree() == {"d": None, "d/a.txt": digest(b"again")}
    assert (await both.events("d/a.txt"))[-1] == "FileSaved"
    assert (await both.events("d/a.txt"))[:2] == WRITTEN


async def test_a_file_that_is_replaced_by_another_keeps_its_own_history(both: BothSides) -> None:
    """As editors save: what had another name takes its place."""
    await both.save("a.txt", b"one")
    both.write("a.txt.new", b"two")
    await both.agree()
    (both.root / "a.txt.new").replace(both.root / "a.txt")
    assert await both.agree() == {"a.txt": digest(b"two")}
    assert await both.events("a.txt") == [*WRITTEN, "FileSaved"]
