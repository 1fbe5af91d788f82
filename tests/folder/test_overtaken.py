"""What is remembered of the disk, while that changes: between a look and what is done then, and twice within one tick of its dates."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evstore.disk import found as found_module
from evstore.disk.disk import Disk
from evstore.disk.found import NS, Stamp
from evstore.events import Author
from evstore.ignoring.ignore import IGNORE_FILE, Ignore
from evstore.paths import ContentPath
from tests.folder.both_sides import AUTHOR, BothSides, digest

MEGABYTE = 1_000_000


def p(path: str) -> ContentPath:
    return ContentPath(path)


def me() -> Author:
    return Author.new(AUTHOR)


def in_place(file: Path, data: bytes) -> None:
    with file.open("r+b") as there:
        there.write(data)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[BothSides]:
    both = BothSides(tmp_path)
    await both.open()
    yield both
    await both.close()


@pytest.fixture
def one_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that happens to a file has the same date, as on a disk that knows only whole seconds, or every second one."""
    now = time.time_ns() // NS * NS
    of = Stamp.of
    monkeypatch.setattr(Stamp, "of", lambda found: of(found)._replace(mtime_ns=now, ctime_ns=now))
    monkeypatch.setattr(found_module, "COARSE_TICK", 3600 * NS)


@pytest.mark.usefixtures("one_tick")
def test_an_ignore_file_changes_within_the_same_tick(disk: Disk, root: Path) -> None:
    ignore = Ignore(disk, max_size=MEGABYTE)
    for name, other in ("ab", "ba"):
        (root / IGNORE_FILE).touch()
        in_place(root / IGNORE_FILE, name.encode())
        ignore.refresh(p(""))
        assert ignore.why(p(name), is_directory=False) is not None
        assert ignore.why(p(other), is_directory=False) is None


async def test_the_rules_of_a_directory_that_has_just_come(both: BothSides, tmp_path: Path) -> None:
    """Somebody has asked for its files before: there was no ignore file in it then."""
    assert both.folder.unversioned.why(p("d/secret")) is None
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / IGNORE_FILE).write_text("secret")
    (tmp_path / "d" / "secret").write_text("secret")
    (tmp_path / "d").rename(both.root / "d")
    await both.folder.settled()
    await both.folder.settled()
    assert "d/secret" not in await both.tree()
    assert await both.store.read(
        lambda tx: tx.row("select 1 from bodies where digest = ?", (digest(b"secret"),)) is None
    )


async def test_the_rules_in_a_directory_that_has_another_name(both: BothSides) -> None:
    """A directory of that name was there before, and some of what it held had no versions."""
    for name, rules in (("a", "nothing"), ("b", "data")):
        (both.root / name / "sub/data").mkdir(parents=True)
        both.write(f"{name}/sub/{IGNORE_FILE}", rules.encode())
        both.write(f"{name}/sub/data/f", name.encode())
    await both.folder.settled()
    assert "b/sub/data/f" not in await both.tree()
    await both.folder._watcher.aclose()  # it would tell what is in it
    (both.root / "b").rename(both.root / "c")
    await both.folder._taking.take([p("")])
    (both.root / "a").rename(both.root / "b")
    await both.folder._taking.take([p("")])
    assert both.folder.unversioned.why(p("b/sub/data/f")) is None
