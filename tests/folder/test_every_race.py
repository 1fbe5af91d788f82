"""Somebody else changes a file just before any one of our changes of the disk: what he has written is in the log or on the disk (invariant 18)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from tests.folder.both_sides import AUTHOR, BothSides, digest
from tests.folder.dying import before_each_change, run

HIS = b"precious"
FILES = ("gone", "d/a", "d/changed")
_replace = os.replace  # the one that is not watched
Wish = Callable[[BothSides], Coroutine[Any, Any, Any]]
Deed = Callable[[Path], None]


def me() -> Author:
    return Author.new(AUTHOR)


def move(old: str, new: str) -> Wish:
    return lambda both: both.contents.move(ContentPath(old), ContentPath(new), me())


def delete(path: str) -> Wish:
    return lambda both: both.contents.delete(ContentPath(path), me())


async def undelete(both: BothSides) -> None:
    (gone,) = await both.history.deleted(ContentPath(""))
    await both.history.undelete(gone.entry, None, me())


async def begin(both: BothSides) -> None:
    """Each file has had two versions. One of them has been changed without anybody having seen it: it is as it was at first."""
    await both.open()
    await both.contents.create_directory(ContentPath("d"), me())
    for path in FILES:
        for version in (b"one ", b"two "):
            await both.save(path, version + path.encode())
    await delete("gone")(both)
    await both.folder.settled()
    both.write("d/changed", b"one d/changed")
    both.folder._looks = False


def in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(HIS)
        file.truncate()


def replaced(path: Path) -> None:
    aside = path.parent / ".his"
    with aside.open("wb") as file:
        file.write(HIS)
    _replace(aside, path)


DEEDS = (in_place, replaced)


class Somebody:
    """Does his deed just before the n-th change of the disk."""

    def __init__(self, deed: Deed, path: Path, changes: int) -> None:
        self.deed, self.path, self.left, self.has_done = deed, path, changes, False

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            with suppress(FileNotFoundError):  # it is not there just then
                self.deed(self.path)
                self.has_done = True


CASES: list[tuple[str, Wish, str]] = [
    ("save", lambda both: both.save("d/a", b"newer"), "d/a"),
    ("save what was changed", lambda both: both.save("d/changed", b"newer"), "d/changed"),
    ("move", move("d/a", "b"), "d/a"),
    ("delete", delete("d/a"), "d/a"),
    ("delete what was changed", delete("d/changed"), "d/changed"),
    ("move a directory", move("d", "e"), "d/a"),
    ("delete a directory", delete("d"), "d/a"),
    ("undelete", undelete, "gone"),
    ("restore", lambda both: both.history.restore(ContentPath("d"), 6, me()), "d/a"),
    ("restore, and so delete", lambda both: both.history.restore(ContentPath("d"), 6, me()), "d/changed"),
    ("make a program", lambda both: both.set_executable("d/a", True), "d/a"),
]


@pytest.mark.parametrize(
    ("wish", "path", "deed"),
    [
        *(
            pytest.param(*case, deed, id=f"{name}, {deed.__name__}")
            for name, *case in CASES
            for deed in DEEDS
        ),
        pytest.param(move("d/a", "b"), "b", replaced, id="move to where he makes something"),
    ],
)
async def test_what_somebody_writes_just_then_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: Wish, deed: Deed, path: str
) -> None:
    done = 0
    for changes in itertools.count(1):
        place = tmp_path / str(changes)
        place.mkdir()
        both = BothSides(place)
        await begin(both)
        somebody = Somebody(deed, both.root / path, changes)
        with monkeypatch.context() as watching:
            before_each_change(somebody, watching.setattr)
            await both.try_to(wish(both))
        both.folder._looks = True
        assert await both.agree() == both.disk()
        if somebody.has_done:
            both.must_have.add(digest(HIS))
            done += 1
        assert await both.has_lost() - in_trash(both.root) == set()
        await both.close()
        if somebody.left > 0:
            break
    assert done


async def wish_and_deed(
    case: int, deed: Deed, changes: int, both: BothSides, begins: Callable[[], None]
) -> None:
    await begin(both)
    somebody = Somebody(deed, both.root / CASES[case][2], changes)
    before_each_change(somebody, setattr)
    begins()
    await both.try_to(CASES[case][1](both))
    await both.folder.close()


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("case", range(len(CASES)), ids=[case[0] for case in CASES])
async def test_what_somebody_writes_just_then_is_not_lost_when_the_process_is_killed_at_the_next_change(
    tmp_path: Path, case: int, deed: Deed
) -> None:
    for changes in itertools.count(1):
        place = tmp_path / str(changes)
        place.mkdir()
        left = run(place, partial(wish_and_deed, case, deed, changes), changes + 1)
        both = BothSides(place)
        found = {digest(file.read_bytes()) for file in both.root.rglob("*") if file.is_file()}
        await both.open()
        assert await both.agree() == both.disk()
        if digest(HIS) in found:
            both.must_have.add(digest(HIS))
        assert await both.has_lost() - in_trash(both.root) == set()
        await both.close()
        if left:
            break


def in_trash(root: Path) -> set[bytes]:
    """The digests of the files in it."""
    return {digest(file.read_bytes()) for file in (root / ".evstore/trash").rglob("*") if file.is_file()}
