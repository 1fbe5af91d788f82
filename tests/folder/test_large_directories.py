"""What concerns a directory alone costs nothing for what it holds; and what happens in it meanwhile is not lost."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

import pytest

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from tests.folder.both_sides import AUTHOR, BothSides, digest

AUTHORED = Author.new(AUTHOR)


@pytest.fixture(params=[False, True], ids=["told", "polling"])
async def both(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[BothSides]:
    both = BothSides(tmp_path)
    await both.open(poll=request.param)
    yield both
    assert await both.has_lost() == set()
    await both.close()


async def test_what_changed_in_a_directory_just_before_its_rename_is_taken_in_where_it_is_now(
    both: BothSides,
) -> None:
    await both.contents.create_directory(ContentPath("d"), AUTHORED)
    await both.contents.create_directory(ContentPath("d/below"), AUTHORED)
    for path in ("d/stays", "d/changes", "d/goes", "d/below/changes"):
        await both.save(path, path.encode())
    await both.agree()
    both.write("d/changes", b"changed")
    both.write("d/below/changes", b"changed below")
    both.write("d/below/new", b"new")
    both.remove("d/goes")
    await both.contents.move(ContentPath("d"), ContentPath("e"), AUTHORED)
    assert await both.agree_by_themselves() == {
        "e": None,
        "e/below": None,
        "e/stays": digest(b"d/stays"),
        "e/changes": digest(b"changed"),
        "e/below/changes": digest(b"changed below"),
        "e/below/new": digest(b"new"),
    }
    assert await both.events("e/changes") == ["EntryCreated", "FileSaved", "FileSaved"]
    assert await both.events("e/below/changes") == ["EntryCreated", "FileSaved", "FileSaved"]
    deleted = await both.history.deleted(ContentPath(""))
    assert [one.path for one in deleted] == ["e/goes"]


async def test_what_is_written_through_two_renames_arrives(both: BothSides) -> None:
    await both.contents.create_directory(ContentPath("d"), AUTHORED)
    await both.save("d/a", b"first")
    await both.agree()
    both.write("d/a", b"second")
    await both.contents.move(ContentPath("d"), ContentPath("e"), AUTHORED)
    both.write("e/b", b"in between")
    await both.contents.move(ContentPath("e"), ContentPath("d"), AUTHORED)
    found = await both.agree_by_themselves()
    assert found == {"d": None, "d/a": digest(b"second"), "d/b": digest(b"in between")}


async def test_renaming_a_directory_does_not_wait_for_a_look_at_what_it_holds(
    both: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(both.folder._dirty_queue, "add", _nothing)  # what the watcher tells comes at any time
    for path in ("d", "other"):
        await both.contents.create_directory(ContentPath(path), AUTHORED)
    await both.save("d/a", b"a")
    await both.agree()
    scanned: list[ContentPath] = []
    scan = both.folder._disk.scan

    def noting(path: ContentPath) -> Any:
        scanned.append(path)
        return scan(path)

    monkeypatch.setattr(both.folder._disk, "scan", noting)
    await both.contents.move(ContentPath("d"), ContentPath("other/e"), AUTHORED)
    await both.contents.create_directory(ContentPath("other"), AUTHORED)
    assert await both.contents.exists(ContentPath("other/e"))
    assert scanned == []
    assert both.disk() == {"other": None, "other/e": None, "other/e/a": digest(b"a")}


def _nothing(directories: Iterable[ContentPath], *, deep: bool = False) -> None:
    """Nobody looks."""


async def test_a_directory_in_the_place_of_another_is_looked_at_before_it_is_renamed(
    both: BothSides,
) -> None:
    await both.contents.create_directory(ContentPath("d"), AUTHORED)
    await both.save("d/a", b"of the first")
    await both.agree()
    (both.root / "d").rename(both.root / ".aside")
    (both.root / "d").mkdir()
    both.write("d/b", b"of the second")
    await both.contents.move(ContentPath("d"), ContentPath("e"), AUTHORED)
    assert await both.agree_by_themselves() == {"e": None, "e/b": digest(b"of the second")}


async def test_a_directory_that_is_gone_is_not_renamed(both: BothSides) -> None:
    await both.contents.create_directory(ContentPath("d"), AUTHORED)
    await both.agree()
    both.remove("d")
    assert not await both.try_to(both.contents.move(ContentPath("d"), ContentPath("e"), AUTHORED))
    assert await both.agree_by_themselves() == {}
