"""What may not be read any more, and what we ourselves fail at: nothing is lost by it, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evstore.core.errors import EvstoreError, Forbidden
from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.worktree.disk.errors import FolderFailed
from tests.folder.both_sides import AUTHOR, LONGEST, BothSides, digest
from tests.folder.mounts import bound_by_permissions


@pytest.mark.parametrize("mode", [0, 0o444], ids=["closed", "listed"])
@pytest.mark.parametrize("how", ["by itself", "at a start"])
async def test_a_directory_that_may_not_be_read_any_more_keeps_what_it_has(
    tmp_path: Path, how: str, mode: int
) -> None:
    both = BothSides(tmp_path)
    closed = both.root / "d"
    with bound_by_permissions():
        await both.open()
        await both.contents.create_directory(ContentPath("d"), Author.new(AUTHOR))
        await both.save("d/a.txt", b"one")
        before = await both.agree()
        closed.chmod(mode)
        try:
            if how == "at a start":
                await both.close()
                await both.open()
            await both.folder.settled()
            assert await both.tree() == before
        finally:
            closed.chmod(0o755)
        both.write("d/b.txt", b"two")
        assert await both.agree_by_themselves() == before | {"d/b.txt": digest(b"two")}
        await both.close()


async def test_what_may_not_be_changed_on_the_disk_is_not_changed_in_the_log(tmp_path: Path) -> None:
    both, author = BothSides(tmp_path), Author.new(AUTHOR)
    fixed = ContentPath("fixed")
    with bound_by_permissions():
        await both.open()
        await both.contents.create_directory(fixed, author)
        await both.save("fixed/a.txt", b"one")
        await both.agree()
        (both.root / "fixed").chmod(0o555)
        offset = both.store.offset
        for wish in (
            both.save("fixed/a.txt", b"two"),
            both.save("fixed/new.txt", b"two"),
            both.contents.create_directory(fixed.child("new"), author),
            both.contents.move(fixed.child("a.txt"), ContentPath("a.txt"), author),
            both.contents.copy(fixed.child("a.txt"), fixed.child("b.txt"), author, exact=True),
            both.contents.delete(fixed.child("a.txt"), author),
        ):
            with pytest.raises(Forbidden):
                await wish
        assert both.store.offset == offset
        (both.root / "fixed").chmod(0o755)
        await both.agree()
        await both.close()


@pytest.mark.trouble
async def test_a_fault_of_our_own_is_told_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("a fault of our own")

    both = BothSides(tmp_path)
    await both.open()
    with monkeypatch.context() as faulty:
        faulty.setattr(both.folder._writer, "apply", fail)
        with pytest.raises(FolderFailed):
            await asyncio.wait_for(both.save("a.txt", b"one"), LONGEST)
    assert await both.agree_by_themselves() == {"a.txt": digest(b"one")}
    assert "a fault of our own" in caplog.text
    await both.save("a.txt", b"two")
    await both.agree()
    await both.close()


async def test_without_a_trash_what_the_log_has_is_removed_all_the_same(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    await both.open()
    for path in ("a", "b"):
        await both.save(path, path.encode())
    await both.folder.settled()
    (both.root / ".evstore/trash").rmdir()
    (both.root / ".evstore/trash").write_bytes(b"in the way")
    await both.contents.delete(ContentPath("a"), Author.new(AUTHOR))
    both.write("b", b"nobody has seen this")
    both.folder._looks = False
    with pytest.raises(EvstoreError):
        await both.contents.delete(ContentPath("b"), Author.new(AUTHOR))
    both.folder._looks = True
    assert await both.agree() == {"b": digest(b"nobody has seen this")}
    await both.close()
