"""Whatever is done in a folder: each directory in which something changed is told, and all that is there is watched."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evstore.core.paths import ContentPath
from evstore.worktree.watching import polling as polling_module
from tests.folder.watchers import SIGN, make, watching

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

NAMES = ["a", "b", "c", ".hidden"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
PLACES = PATHS.map("folder/{}".format) | st.sampled_from(["outside/a", "outside/b"])
OPERATIONS = st.one_of(
    st.tuples(st.just("mkdir"), PLACES),
    st.tuples(st.just("write"), PLACES),
    st.tuples(st.just("append"), PLACES),
    st.tuples(st.just("remove"), PLACES),
    st.tuples(st.just("rename"), PLACES, PLACES),
    st.tuples(st.just("exchange"), PLACES, PLACES),
    st.tuples(st.just("copy"), PLACES, PLACES),
    st.tuples(st.just("symlink"), PLACES, PLACES),
    st.tuples(st.just("chmod"), PLACES, st.sampled_from([0o700, 0o755])),
    st.tuples(st.just("pause"), st.sampled_from([0, 0.005, 0.03, 0.2])),
)
LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def act(top: Path, operation: str, first: str | float, second: str | int = "") -> None:
    if operation == "pause":
        time.sleep(float(first))
        return
    path, other = top / str(first), top / str(second)
    with contextlib.suppress(OSError, shutil.Error):  # much of it is not possible: then nothing happens
        match operation:
            case "mkdir":
                path.mkdir(parents=True)
            case "write":
                path.write_text("x")
            case "append":
                with path.open("a") as file:
                    file.write("y")
            case "remove":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            case "rename":
                path.rename(other)
            case "exchange":
                LIBC.renameat2(AT_FDCWD, bytes(path), AT_FDCWD, bytes(other), RENAME_EXCHANGE)
            case "copy":
                shutil.copytree(path, other, symlinks=True)
            case "symlink":
                path.symlink_to(other)
            case "chmod":
                path.chmod(int(second))
            case _:
                raise AssertionError(operation)


def stamps(folder: Path) -> dict[str, object]:
    """For each watched directory what it is and what is in it, found in the plainest way."""
    found: dict[str, object] = {}
    for path, names, files in os.walk(folder):
        relative = ContentPath(os.path.relpath(path, folder)).removeprefix(".").removeprefix("/")
        names[:] = [name for name in names if not name.startswith(".") or (Path(path, name)).is_symlink()]
        found[relative] = (
            os.lstat(path).st_ino,
            frozenset(map(stamp, (Path(path, name) for name in (*names, *files)))),
        )
        names[:] = [name for name in names if not Path(path, name).is_symlink()]
    del found[SIGN]
    return found


def stamp(path: Path) -> tuple[object, ...]:
    is_ = path.lstat()
    if stat.S_ISDIR(is_.st_mode):
        return path.name, is_.st_ino, is_.st_mode
    return path.name, is_.st_ino, is_.st_mode, is_.st_size, is_.st_mtime_ns


async def try_out(operations: list[tuple[str, ...]], *, polling: bool) -> None:
    with tempfile.TemporaryDirectory() as top:
        root = Path(top, "folder")
        make(root, ["a/b/c/file", "b/file", ".hidden/a/"])
        make(Path(top), ["outside/a/b/c/file", "outside/b/"])
        async with watching(root, polling=polling) as observer:
            before = stamps(root)
            await asyncio.to_thread(lambda: [act(Path(top), *operation) for operation in operations])
            await observer.settle()
            after = stamps(root)
            if not observer.everything:
                assert {path for path, now in after.items() if before.get(path) != now} <= observer.paths
            observer.forget()
            for path in after:
                (root / path / "new").touch()
            await observer.settle()
            assert observer.paths == set(after)
            if not polling:
                assert observer.watcher.state.watches == len(after) + 1  # with the sign's


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=30))
def test_anything_with_inotify(operations: list[tuple[str, ...]]) -> None:
    asyncio.run(try_out(operations, polling=False))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=30))
def test_anything_with_polling(operations: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_module, "INTERVAL", 0.05)
    asyncio.run(try_out(operations, polling=True))


def test_directories_that_change_places_at_once() -> None:
    operations = [
        ("exchange", "folder/a", "folder/b"),
        ("exchange", "folder/a", "outside/a"),
        ("mkdir", "folder/c/c"),
    ]
    asyncio.run(try_out(operations, polling=False))
