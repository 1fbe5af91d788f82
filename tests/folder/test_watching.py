"""Which directories of a folder have changed: real files, real events, for each way of watching."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from evstore.worktree.watching import polling as polling_module
from evstore.worktree.watching import watcher as watching_module
from evstore.worktree.watching.watcher import Watcher
from tests.folder.watchers import SIGN, make, watched, watching

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is told for each change is Linux's")


@pytest.fixture(params=["inotify", "polling"])
def polling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(polling_module, "INTERVAL", 0.05)
    monkeypatch.setattr(polling_module, "SHARE", 1)
    return request.param == "polling"


CHANGES = {
    "a file is made": (lambda root: make(root, ["a/new"]), {"a"}),
    "a file is written": (lambda root: (root / "a/file").write_text("longer"), {"a"}),
    "a file is appended to": (lambda root: (root / "a/file").open("a").write("y"), {"a"}),
    "a file is deleted": (lambda root: (root / "a/file").unlink(), {"a"}),
    "a file gets other rights": (lambda root: (root / "a/file").chmod(0o600), {"a"}),
    "a file gets another date": (lambda root: os.utime(root / "a/file", (1, 1)), {"a"}),
    "a file is renamed": (lambda root: (root / "a/file").rename(root / "a/other"), {"a"}),
    "a file moves": (lambda root: (root / "a/file").rename(root / "a/b/file"), {"a", "a/b"}),
    "a file moves in": (lambda root: (root.parent / "file").rename(root / "a/b/came"), {"a/b"}),
    "a file is replaced": (lambda root: (root.parent / "file").rename(root / "a/file"), {"a"}),
    "a file in the root": (lambda root: make(root, ["file"]), {""}),
    "a link is made": (lambda root: (root / "a/link").symlink_to("file"), {"a"}),
    "a FIFO is made": (lambda root: os.mkfifo(root / "a/fifo"), {"a"}),
    "a name that is no UTF-8": (
        lambda root: make(root, [f"a/{os.fsdecode(bytes([0xFF]))}/file"]),
        {"a", "a/\udcff"},
    ),
    "directories are made and filled at once": (
        lambda root: make(root, ["n/o/p/file"]),
        {"", "n", "n/o", "n/o/p"},
    ),
    "a directory is renamed": (lambda root: (root / "a").rename(root / "z"), {"", "z", "z/b", "z/b/c"}),
    "a directory moves down": (
        lambda root: (root / "d").rename(root / "a/b/d"),
        {"", "a/b", "a/b/d", "a/b/d/e"},
    ),
    "a directory moves in": (
        lambda root: (root.parent / "outside").rename(root / "a/in"),
        {"a", "a/in", "a/in/deep"},
    ),
    "a directory moves out": (lambda root: (root / "a").rename(root.parent / "out"), {""}),
    "a directory is deleted": (lambda root: shutil.rmtree(root / "a/b"), {"a"}),
    "an empty directory is deleted": (lambda root: (root / "empty").rmdir(), {""}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_told_once_for_each_directory(tmp_path: Path, polling: bool, change: str) -> None:
    root = folder(tmp_path)
    act, expected = CHANGES[change]
    async with watching(root, polling=polling) as observer:
        act(root)
        await observer.settle()
        still_there = {path for path in observer.paths if (root / path).is_dir()}
        assert still_there == expected
        assert not observer.everything


def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    make(root, ["a/file", "a/b/c/file", "d/e/file", "empty/", ".git/config", "node_modules/m/file"])
    make(tmp_path, ["file", "outside/deep/file"])
    return root


async def test_what_is_new_is_watched_too(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        make(root, ["n/o/p/file"])
        (root / "a").rename(root / "n/a")
        (root.parent / "outside").rename(root / "in")
        await observer.settle()
        observer.forget()
        make(root, ["n/o/p/later", "n/a/b/c/later", "in/deep/later"])
        await observer.settle()
        assert observer.paths == {"n/o/p", "n/a/b/c", "in/deep"}


async def test_what_has_left_is_watched_no_more(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        before = observer.watcher.state.watches
        (root / "a").rename(tmp_path / "out")
        await observer.settle()
        observer.forget()
        make(tmp_path, ["out/later", "out/b/later"])
        await observer.settle()
        assert observer.paths == set()
        assert observer.watcher.state.watches == (0 if polling else before - 3)


async def test_what_went_on_while_a_directory_was_elsewhere(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling, quiet=1) as observer:
        before = observer.watcher.state.watches
        (root / "a").rename(tmp_path / "out")
        await asyncio.sleep(0.2)  # it has been heard that it is gone, but it may still come back
        (tmp_path / "out/b").rename(tmp_path / "b")
        make(tmp_path, ["out/x/y/file"])
        await asyncio.sleep(0.2)
        (tmp_path / "out").rename(root / "a")
        await observer.settle()
        assert observer.paths >= {"a", "a/x", "a/x/y"}
        assert observer.watcher.state.watches == before  # two have left, two have come
        observer.forget()
        make(tmp_path, ["b/c/later", "root/a/x/y/later"])
        await observer.settle()
        assert observer.paths == {"a/x/y"}


async def test_a_directory_made_again_is_watched_again(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        for _ in range(5):
            shutil.rmtree(root / "a")
            make(root, ["a/b/file"])
        await observer.settle()
        observer.forget()
        make(root, ["a/b/later"])
        await observer.settle()
        assert observer.paths == {"a/b"}


async def test_directories_that_change_places_keep_their_watches(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        (root / "a/b").rename(root / "b")  # a/b/c becomes b/c, and a comes to be in it
        (root / "a").rename(root / "b/c/a")
        await observer.settle()
        observer.forget()
        make(root, ["b/c/later", "b/c/a/later"])
        await observer.settle()
        assert observer.paths == {"b/c", "b/c/a"}


async def test_a_file_becomes_a_directory_and_back(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        (root / "a/file").unlink()
        make(root, ["a/file/inside"])
        await observer.settle()
        assert observer.paths == {"a", "a/file"}
        observer.forget()
        shutil.rmtree(root / "a/file")
        make(root, ["a/file"])
        await observer.settle()
        assert observer.paths - {"a/file"} == {"a"}


async def test_links_are_not_followed(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    (root / "loop").symlink_to(root)
    (root / "away").symlink_to(tmp_path / "outside")
    async with watching(root, polling=polling) as observer:
        (root / "a/later").symlink_to(tmp_path / "outside")
        await observer.settle()
        observer.forget()
        make(tmp_path, ["outside/new", "outside/deep/new"])
        await observer.settle()
        assert observer.paths == set()


async def test_what_is_not_watched_is_not_told(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        make(root, ["node_modules/m/new", "node_modules/n/new", ".git/objects/new"])
        await observer.settle()
        assert observer.paths == set()
        make(root, ["a/node_modules/n/new"])
        await observer.settle()
        assert observer.paths == {"a"}


async def test_what_becomes_watched_by_its_name(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        (root / "node_modules").rename(root / "modules")
        (root / "a").rename(root / ".a")
        await observer.settle()
        assert observer.paths == {"", "modules", "modules/m"}
        observer.forget()
        make(root, ["modules/m/new", ".a/b/new"])
        await observer.settle()
        assert observer.paths == {"modules/m"}


async def test_other_rules_are_asked_for_at_a_refresh(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    ignored = {"d"}
    async with watching(
        root, polling=polling, is_watched=lambda path: path.names[0] not in ignored
    ) as observer:
        make(root, ["d/e/new"])
        await observer.settle()
        assert observer.paths == set()
        ignored.remove("d")
        observer.watcher.refresh()
        await observer.until_everything()
        observer.forget()
        make(root, ["d/e/newer"])
        await observer.settle()
        assert observer.paths == {"d/e"}


async def test_reading_is_no_change(tmp_path: Path, polling: bool) -> None:
    root = folder(tmp_path)
    make(root, [f"many/{number}" for number in range(10_000)])
    async with watching(root, polling=polling) as observer:
        for number in range(10_000):
            (root / "many" / str(number)).read_bytes()
        os.listdir(root / "a")
        await observer.settle()
        assert observer.paths == set()


async def test_a_file_written_for_ever_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path)
    stop = threading.Event()

    def write() -> None:
        with (root / "a/log").open("w", buffering=1) as file:
            while not stop.wait(0.005):
                file.write("one more line\n")

    async with watching(root, quiet=0.15) as observer:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            await observer.until("a")  # told although it goes on
            monkeypatch.setattr(watching_module, "LONGEST", 3600)
            for number in range(3):  # others wait for their own quiet moment only, in the same directory too
                observer.forget()
                make(root, [f"a/{number}", f"d/{number}"])
                await observer.until("a", "d")
        finally:
            stop.set()
            writer.join()


async def test_what_git_does_is_told_as_one(tmp_path: Path) -> None:
    root = folder(tmp_path)
    async with watching(root) as observer:
        lock = root / ".git/index.lock"
        lock.touch()
        for number in range(10):
            make(root, [f"by-git-{number}/file"])
            await asyncio.sleep(0.2)
        assert observer.told == []
        lock.unlink()
        await observer.until("by-git-0")
        assert len(observer.paths) == 11  # with the root
        assert len(observer.told) == 1


@pytest.mark.parametrize("repository", ["inside", "around", "linked"])
async def test_git_may_be_at_work_elsewhere(tmp_path: Path, repository: str) -> None:
    root = folder(tmp_path)
    git_folder = {
        "inside": root / "a/.git",
        "around": tmp_path / ".git",
        "linked": tmp_path / "main/.git/worktrees/a",
    }[repository]
    git_folder.mkdir(parents=True)
    if repository == "linked":
        shutil.rmtree(root / ".git")
        (root / ".git").write_text(f"gitdir: {git_folder}\n")
    async with watching(root) as observer:
        lock = git_folder / "index.lock"
        lock.touch()
        make(root, ["d/new"])
        await asyncio.sleep(0.5)
        assert observer.told == []
        lock.unlink()
        await observer.until("d")


async def test_a_lock_that_git_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    root = folder(tmp_path)
    make(root, [".git/index.lock"])
    os.utime(root / ".git/index.lock", (1, 1))
    async with watching(root) as observer:
        make(root, ["d/new"])
        await asyncio.wait_for(observer.until("d"), 5)


@pytest.mark.trouble
async def test_a_folder_that_vanishes_is_waited_for(
    tmp_path: Path, polling: bool, caplog: pytest.LogCaptureFixture
) -> None:
    root = folder(tmp_path)
    async with watching(root, polling=polling) as observer:
        root.rename(tmp_path / "elsewhere")
        await observer.until_everything()
        assert observer.watcher.state.how == "nothing"
        (tmp_path / "elsewhere").rename(root)
        await observer.until_everything(times=2)
        observer.forget()
        make(root, ["a/b/new"])
        await observer.settle()
        assert observer.paths == {"a/b"}
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.trouble
async def test_a_folder_that_is_not_there_yet(tmp_path: Path, polling: bool) -> None:
    async with Watcher(tmp_path / "root", watched, polling=polling) as watcher:
        assert watcher.state.how == "nothing"
        changes = watcher.changes()
        assert (await anext(changes)).everything
        (tmp_path / "root").mkdir()
        assert (await anext(changes)).everything
        assert watcher.state.how == ("polling" if polling else "inotify")
        await changes.aclose()


async def test_a_folder_put_in_its_place_is_noticed(tmp_path: Path, polling: bool) -> None:
    """When a folder above is renamed, nothing tells it: it is looked for."""
    root = folder(tmp_path / "above")
    async with watching(root, polling=polling) as observer:
        (tmp_path / "above").rename(tmp_path / "former")
        folder(tmp_path / "above")
        (root / SIGN).mkdir()
        make(root, ["a/other"])
        if polling:
            await observer.until("a")
        else:
            await observer.until_everything()
        observer.forget()
        make(root, ["a/b/new"])
        await observer.settle()
        if polling:  # the other directories may have been looked at a moment too early the first time
            assert "a/b" in observer.paths
        else:
            assert observer.paths == {"a/b"}


@pytest.mark.parametrize("said", [b"gitdir: /no\0where", b"gitdir: /nowhere", b"", b"\xff" * 5000])
async def test_a_git_file_may_say_anything(tmp_path: Path, said: bytes) -> None:
    root = folder(tmp_path)
    make(root, ["d/.git"])
    (root / "d/.git").write_bytes(said)
    async with watching(root) as observer:
        make(root, ["d/new"])
        await observer.settle()
        assert observer.paths == {"d"}
        assert not observer.everything
