"""Watching a real folder in tests, without a guess about time: a sign is written last, and waited for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.worktree.watching.source import IsWatched
from evstore.worktree.watching.watcher import Changes, Watcher

SIGN = "zz-sign"


def watched(path: ContentPath) -> bool:
    return not path.hidden and "node_modules" not in path.names


class Observer:
    """What a watcher has told, in order."""

    def __init__(self, root: Path, watcher: Watcher) -> None:
        self.root = root
        self.watcher = watcher
        self.told: list[Changes] = []
        self.news = asyncio.Condition()
        self._signs = itertools.count()

    async def read(self) -> None:
        async for changes in self.watcher.changes():
            async with self.news:
                self.told.append(changes)
                self.news.notify_all()

    async def until(self, *paths: str) -> None:
        """Wait until all these have been told."""
        async with self.news:
            await self.news.wait_for(lambda: set(paths) <= self.paths)

    async def until_everything(self, times: int = 1) -> None:
        async with self.news:
            await self.news.wait_for(lambda: sum(changes.everything for changes in self.told) >= times)

    async def settle(self) -> Observer:
        """Wait until all that has happened so far was told: what happens later is told later."""
        for _ in range(2):  # a look may have begun before the first
            before = len(self.told)
            (self.root / SIGN / str(next(self._signs))).touch()
            async with self.news:
                await self.news.wait_for(lambda start=before: any(map(signed, self.told[start:])))
        return self

    @property
    def paths(self) -> set[str]:
        """All directories that were told, but for the sign."""
        return {str(path) for changes in self.told for path in changes.paths} - {SIGN}

    @property
    def everything(self) -> bool:
        return any(changes.everything for changes in self.told)

    def forget(self) -> None:
        self.told.clear()


def signed(changes: Changes) -> bool:
    return changes.everything or ContentPath(SIGN) in changes.paths


@asynccontextmanager
async def watching(
    root: Path, *, polling: bool = False, is_watched: IsWatched = watched, quiet: float = 0.03
) -> AsyncIterator[Observer]:
    (root / SIGN).mkdir(exist_ok=True)
    async with Watcher(root, is_watched, polling=polling, quiet=quiet) as watcher:
        observer = Observer(root, watcher)
        reading = asyncio.create_task(observer.read())
        yield observer
    await reading  # it ends when the watcher is closed


def make(root: Path, names: Iterable[str]) -> None:
    """Make files, and directories for names that end in a slash."""
    for name in names:
        if name.endswith("/"):
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("x")
