"""Watching a folder when the system tells too much, too little, or nothing at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.worktree.disk.errors import Unreadable
from evstore.worktree.watching import watcher as watching_module
from evstore.worktree.watching.native import Native
from evstore.worktree.watching.watcher import Watcher
from tests.folder.watchers import make, watched, watching

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


async def test_more_events_than_the_kernel_keeps(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slowly(path: ContentPath) -> bool:
        if path == "slow":
            asked.set()
            go_on.wait()
        return watched(path)

    make(tmp_path, ["a/one", "a/two"])
    async with watching(tmp_path, is_watched=slowly) as observer:
        try:
            (tmp_path / "slow").mkdir()
            await asyncio.to_thread(asked.wait)
            for _ in range(QUEUE):  # two different ones each time, which are not merged
                os.utime(tmp_path / "a/one")
                os.utime(tmp_path / "a/two")
            make(tmp_path, ["unheard/of/file"])
        finally:
            go_on.set()
        await observer.until_everything()
        observer.forget()
        make(tmp_path, ["unheard/of/another", "slow/file"])
        await observer.settle()
        assert observer.paths == {"unheard/of", "slow"}


LIMITED = """
    import asyncio, logging, os, sys
    from pathlib import Path
    from evstore.worktree.watching import polling
    from evstore.worktree.watching.watcher import Watcher

    async def main(root, more):
        polling.INTERVAL = 0.05
        logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
        async with Watcher(root, lambda path: True) as watcher:
            print(watcher.state.how, flush=True)
            changes = watcher.changes()
            for number in range(more):
                (root / f"more-{number}").mkdir()
            if more:
                while not (await anext(changes)).everything:
                    pass
            print(watcher.state.how, watcher.state.watches)
            (root / "a" / "new").touch()
            while "a" not in (await anext(changes)).paths:
                pass
            await changes.aclose()

    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("setting", "limit", "more", "how", "named"),
    [
        ("max_inotify_watches", 3, 0, "polling", "fs.inotify.max_user_watches"),
        ("max_inotify_watches", 6, 10, "inotify", "fs.inotify.max_user_watches"),
        ("max_inotify_instances", 0, 0, "polling", "fs.inotify.max_user_instances"),
    ],
    ids=["too few watches", "too few for what comes later", "no inotify at all"],
)
def test_a_limit_of_the_system(
    tmp_path: Path, setting: str, limit: int, more: int, how: str, named: str
) -> None:
    """A user namespace has limits of its own."""
    make(tmp_path, ["a/b/", "c/", "d/"])
    command = f'echo {limit} > /proc/sys/user/{setting} && exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "sh", "-ec", command, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    program = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path), str(more)]
    done = subprocess.run([*unshare, *program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    warning = said.pop(1 if more else 0)
    assert said == [how, "polling 0"]
    assert warning.startswith("WARNING ") and f"sudo sysctl {named}=" in warning


MOUNTED = """
    import asyncio, subprocess, sys
    from pathlib import Path
    from evstore.worktree.watching.watcher import Watcher

    async def main(root, disk):
        subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
        (disk / "on-it").mkdir()
        async with Watcher(root, lambda path: True) as watcher:
            changes = watcher.changes()
            (disk / "on-it/new").touch()
            print(*(await anext(changes)).paths)
            subprocess.run(["umount", disk], check=True)
            directory = str(disk.relative_to(root)).removeprefix(".")
            while True:
                changed = await anext(changes)
                (disk / "under-it").touch()  # again and again: somebody must hear it
                if directory in changed.paths and not changed.everything:
                    break
            assert watcher.state.how == "inotify"
            await changes.aclose()

    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.parametrize(("disk", "told"), [(".", "on-it"), ("a/disk", "a/disk/on-it")])
def test_a_disk_is_unmounted(tmp_path: Path, disk: str, told: str) -> None:
    """What it had covered is watched then."""
    make(tmp_path, ["a/disk/", "b/"])
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    program = [sys.executable, "-c", textwrap.dedent(MOUNTED), str(tmp_path), str(tmp_path / disk)]
    done = subprocess.run([*unshare, *program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [told]


async def test_nothing_is_left_when_it_ends(tmp_path: Path) -> None:
    make(tmp_path, ["a/b/file"])
    before = len(os.listdir("/proc/self/fd"))
    for polling in (False, True, False):
        async with watching(tmp_path, polling=polling) as observer:
            make(tmp_path, ["a/new"])
            assert any(thread.name == "folder-watcher" for thread in threading.enumerate())
        await observer.watcher.aclose()  # once more does nothing
        assert observer.watcher.closed
        assert not any(thread.name == "folder-watcher" for thread in threading.enumerate())
        (tmp_path / "a/new").unlink()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_one_that_was_never_started_can_be_closed(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path, watched)
    await watcher.aclose()
    watcher.refresh()


async def test_directories_nested_deeper_than_any_path(tmp_path: Path) -> None:
    make(tmp_path, ["a/file"])
    current = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=current)
        above, current = current, os.open("n" * 200, os.O_RDONLY, dir_fd=current)
        os.close(above)
    os.close(current)
    async with watching(tmp_path) as observer:
        assert observer.watcher.state.watches == 1 + 2 + 4096 // 201  # the root, two, and what has a path
        make(tmp_path, ["a/new", f"{'n' * 200}/new"])
        await observer.settle()
        assert observer.paths == {"a", "n" * 200}


async def test_what_can_not_be_decided_is_watched(tmp_path: Path) -> None:
    def rules(path: ContentPath) -> bool:
        if path.name == "odd":
            raise Unreadable(f"{path}/.rules", "Permission denied")
        return watched(path)

    make(tmp_path, ["odd/file"])
    async with watching(tmp_path, is_watched=rules) as observer:
        make(tmp_path, ["odd/new", "a/odd/new"])
        await observer.settle()
        assert observer.paths == {"", "a", "odd", "a/odd"}
        assert not observer.everything


@pytest.mark.trouble
async def test_rules_that_fail_do_not_end_the_watching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching_module, "CHECK", 0.05)
    broken = {"broken"}

    def rules(path: ContentPath) -> bool:
        if path.name in broken:
            raise RuntimeError("no rule for this")
        return True

    async with watching(tmp_path, is_watched=rules) as observer:
        make(tmp_path, ["broken/file"])
        while "has failed" not in caplog.text:
            await asyncio.sleep(0.01)
        broken.clear()
        await observer.until_everything()
        observer.forget()
        make(tmp_path, ["broken/new"])
        await observer.settle()
        assert observer.paths == {"broken"}


async def test_a_busy_reader_gets_all_at_once(tmp_path: Path) -> None:
    make(tmp_path, ["a/file", "b/file", "c/file"])
    async with Watcher(tmp_path, watched) as watcher:
        changes = watcher.changes()
        for name in "abc":
            make(tmp_path, [f"{name}/new"])
            await asyncio.sleep(0.4)
        assert (await anext(changes)).paths == {"a", "b", "c"}
        await changes.aclose()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_a_directory_that_may_be_read_later(tmp_path: Path) -> None:
    program = """
        import asyncio, os, sys
        from pathlib import Path
        from evstore.worktree.watching.watcher import Watcher

        async def main(root):
            async with Watcher(root, lambda path: True) as watcher:
                changes = watcher.changes()
                for path, expected in (("closed", {"", "closed", "closed/below"}), ("closed/below", {"closed/below"})):
                    if path == "closed":
                        os.chmod(root / "closed", 0o700)
                    else:
                        (root / path / "new").touch()
                    assert set((await anext(changes)).paths) >= expected
                await changes.aclose()

        root = Path(sys.argv[1])
        os.chown(root, 65534, 65534)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        (root / "closed/below").mkdir(parents=True)
        os.chmod(root / "closed", 0)
        asyncio.run(main(root))
    """
    root = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())  # tmp_path is root's alone
    try:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(root)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(root)


async def test_what_other_systems_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for macOS and Windows, as far as it can be seen here."""
    monkeypatch.setattr(watching_module, "SystemEvents", Native)
    root = tmp_path / "root"
    make(root, ["a/b/file", "node_modules/m/file", ".git/config"])
    make(tmp_path, ["outside/deep/file"])
    async with watching(root) as observer:
        assert observer.watcher.state.how == "watchfiles"
        make(root, ["a/b/new", "n/o/file", "node_modules/m/new", ".git/new"])
        (tmp_path / "outside").rename(root / "in")
        await observer.settle()
        assert observer.paths == {"", "a/b", "n", "n/o", "in", "in/deep"}
        observer.forget()
        shutil.rmtree(root)
        await observer.until_everything()
        make(root, ["a/file"])
        await observer.until_everything(times=2)
