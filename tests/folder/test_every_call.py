"""The process ends just before any one of its changes of the disk: the next start brings both sides in line, and what was answered is so.

Clients do one thing after another. What is there afterwards is what was there after the last answer, or after the
wish that was not answered any more.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evstore.core.events import Author, Kind
from evstore.core.paths import ContentPath
from tests.folder.both_sides import AUTHOR, BothSides, Tree, digest
from tests.folder.dying import run

BASE = {"d/a": b"one", "d/sub/b": b"two", "c": b"three", "n": b"four", "m": b"five", "x/1": b"x", "y/2": b"y"}
Answered = Callable[[], Coroutine[Any, Any, object]]
UNVERSIONED = ("d/kept.big", "d/sub/kept.big", "x/kept.big")


class Sides(NamedTuple):
    """Both of them."""

    logged: Tree
    programs: set[str]
    versions: set[bytes]  # the digests of all that was ever saved
    disk: Tree  # with what has no versions


async def sides(both: BothSides) -> Sides:
    versions = await both.store.read(lambda tx: {row[0] for row in tx.rows("select digest from contents")})
    return Sides(await both.tree(), set(await both.programs()), versions, both.disk())


async def begin(both: BothSides) -> None:
    both.write(".evstoreignore", b"*.big\n")
    await both.open()
    for directory in ("d", "d/sub", "x", "y"):
        await both.contents.create_directory(ContentPath(directory), Author.new(AUTHOR))
    for path, data in BASE.items():
        await both.save(path, data)
    for path in UNVERSIONED:
        both.write(path, path.encode())
    await both.folder.note()


async def wishes(both: BothSides, answered: Answered) -> None:
    async def move(old: str, new: str) -> None:
        await both.contents.move(ContentPath(old), ContentPath(new), Author.new(AUTHOR))
        await answered()

    async def delete(path: str) -> None:
        await both.contents.delete(ContentPath(path), Author.new(AUTHOR))
        await answered()

    async def save(path: str, data: bytes) -> None:
        await both.save(path, data)
        await answered()

    async def undelete(path: str) -> None:
        deleted = await both.history.deleted(ContentPath(""))
        (entry,) = [one.entry for one in deleted if one.path == path and one.kind is Kind.DIRECTORY]
        await both.history.undelete(entry, None, Author.new(AUTHOR))
        await answered()

    then = both.store.offset
    await save("c", b"newer")
    await save("d/new", b"new")
    for a, b in (("n", "m"), ("x", "y")):
        await move(a, "third")
        await move(b, a)
        await move("third", b)
    await move("d", "e")
    await move("c", "e/sub/c")
    await move("e/sub", "y/sub")
    await both.set_executable("y/sub/c", True)
    await answered()
    await save("y/sub/c", b"newest")
    await delete("e/a")
    await delete("y")
    await save("y", b"a file now")
    await delete("y")
    await undelete("y")
    await move("y/sub", "x/sub")
    await delete("y")
    await both.history.restore(ContentPath(""), then, Author.new(AUTHOR))
    await answered()


async def until_killed(both: BothSides, begins: Callable[[], None]) -> None:
    """How many wishes were answered is the length of a file."""
    answers = os.open(both.root.parent / "answers", os.O_WRONLY | os.O_CREAT)

    async def answered() -> None:
        os.write(answers, b".")

    await begin(both)
    begins()
    await wishes(both, answered)
    await both.close()


async def undisturbed(place: Path) -> list[Sides]:
    """What there is before the first wish, and after each."""
    both, seen = BothSides(place), list[Sides]()

    async def see() -> None:
        seen.append(await sides(both))

    await begin(both)
    await see()
    await wishes(both, see)
    await both.close()
    return seen


def new(place: Path) -> Path:
    place.mkdir()
    return place


async def check(place: Path, possible: list[Sides]) -> None:
    """Both sides are in line as soon as it is served again, in one of the `possible` ways; nothing is left over."""
    both = BothSides(place)
    await both.open()
    await both.folder.settled()
    found = await sides(both)
    assert found.logged in [one.logged for one in possible]
    assert found in possible
    assert both.executable() == found.programs
    trash = both.root / ".evstore/trash"
    assert not [name for name in (os.listdir(trash) if trash.exists() else ()) if name.startswith("moving-")]
    assert os.listdir(both.root / ".evstore/tmp") == []
    await both.close()


async def test_a_process_that_is_killed_at_work(tmp_path: Path) -> None:
    expected = await undisturbed(new(tmp_path / "undisturbed"))
    for calls in itertools.count(1):
        place = new(tmp_path / str(calls))
        left = run(place, until_killed, calls)
        answers = (place / "answers").stat().st_size
        await check(place, expected[answers : answers + 2])
        if left:
            break
    assert calls > 2 * len(expected)  # it was killed in the midst of them


async def serve(both: BothSides, begins: Callable[[], None]) -> None:
    begins()
    await both.open()
    await both.close()


@pytest.mark.parametrize("answers", [9, 19])
async def test_a_start_that_is_killed_while_it_catches_up_and_the_next_one_too(
    tmp_path: Path, answers: int
) -> None:
    """Nothing of what the clients wished was done on the disk yet."""
    expected = await undisturbed(new(tmp_path / "undisturbed"))
    for calls in itertools.count(1, 2):
        both = BothSides(new(tmp_path / str(calls)))
        await begin(both)
        await stop_looking(both)
        with suppress(Enough):
            await wishes(both, Counting(answers))
        await both.crash()
        left = [run(both.root.parent, serve, calls + more) for more in range(2)]
        await check(both.root.parent, expected[answers : answers + 1])
        if all(left):
            break
    assert calls > answers


class Enough(Exception):
    """No more wishes."""


class Counting:
    """Ends the wishes after so many answers."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    async def __call__(self) -> None:
        self.left -= 1
        if not self.left:
            raise Enough


async def test_what_an_ended_start_has_put_aside_and_can_not_get_to_its_place_is_where_it_was(
    tmp_path: Path,
) -> None:
    both = BothSides(tmp_path)
    await begin(both)
    await stop_looking(both)
    entry = await both.contents.exists(ContentPath("d"))
    assert entry is not None
    await both.contents.move(ContentPath("d"), ContentPath("x/d"), Author.new(AUTHOR))
    await both.crash()
    (both.root / ".evstore/trash").mkdir(exist_ok=True)
    (both.root / "d").rename(both.root / f".evstore/trash/moving-{entry.id.hex()}")
    shutil.rmtree(both.root / "x")
    both.write("x", b"a file by now")
    await both.open()
    await both.folder.settled()
    assert both.disk()["d/kept.big"] == digest(b"d/kept.big")
    assert (await both.tree())["d/a"] == digest(BASE["d/a"])
    assert os.listdir(both.root / ".evstore/trash") == []
    await both.close()


async def stop_looking(both: BothSides) -> None:
    """From now on nothing is carried out; nor is the log given what the disk has."""
    for task in both.folder._tasks:
        task.cancel()
    await both.folder._folder_thread.rest()
    both.store.mirror = None
