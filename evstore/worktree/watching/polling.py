"""Watching by looking: for network file systems, where nobody tells what other machines do, and where inotify's limits are too low.

A look at 100,000 files costs some 0.5 s of a thread, so the next one comes when 50 times as long has passed: that is 2 % of one CPU.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import closing
from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.worktree.disk.dir_fd_cache import DirFdCache
from evstore.worktree.watching.source import Bell, Heard, IsWatched, Vanished, opened

INTERVAL = 2.0  # seconds between two looks, at least
MemberStamp = tuple[str, int, int, int, int, int]  # name, inode, mode; but for directories: size, two dates
SHARE = 50  # a look may take 1/50 of the time


class Polling:
    """See `Source`. For each directory one number is kept, made of its own and its members' stamps."""

    how = "polling"
    watches = 0

    def __init__(self, root: Path, is_watched: IsWatched, bell: Bell) -> None:
        self._top = os.fspath(root)
        self._is_watched = is_watched
        self._bell = bell
        self._changed: set[ContentPath] = set()
        self._repositories: list[str] = []
        self._seen: dict[ContentPath, int] = {}
        self._look()

    def read(self, seconds: float) -> Heard:
        wait = self._due - time.monotonic()
        if wait > 0:
            self._bell.wait(min(wait, seconds))
        if self._bell.is_set() or time.monotonic() < self._due:
            return Heard.NOTHING
        before = self._seen
        self._look()
        changed = {path for path, stamp in self._seen.items() if before.get(path) != stamp}
        self._changed |= changed
        return Heard.CHANGE if changed else Heard.NOTHING

    def take(self, *, restless: bool) -> frozenset[ContentPath]:
        paths = frozenset(path for path in self._changed if path in self._seen)
        self._changed.clear()
        return paths

    def repositories(self) -> list[str]:
        return self._repositories

    def check(self) -> None:
        """Nothing to do: each look begins at the folder's own path."""

    def close(self) -> None:
        """Nothing is open."""

    def _look(self) -> None:
        """Go through the folder. A look that the bell has ended early counts for nothing."""
        began = time.monotonic()
        seen: dict[ContentPath, int] = {}
        repositories: list[str] = []
        places = [ContentPath()]
        with closing(DirFdCache()) as way:
            while places and not self._bell.is_set():
                path = places.pop()
                stamps = self._stamps(path, way)
                if stamps is None:
                    if not path:
                        raise Vanished
                    continue
                seen[path] = hash(stamps)
                for name, _, mode, *_ in stamps:
                    if name == ".git":
                        repositories.append(f"{self._top}/{path}")
                    if stat.S_ISDIR(mode) and self._is_watched(path.child(name)):
                        places.append(path.child(name))
        if not places:
            self._seen, self._repositories = seen, repositories
        now = time.monotonic()
        self._due = now + max(INTERVAL, SHARE * (now - began))

    def _stamps(self, path: ContentPath, way: DirFdCache) -> frozenset[MemberStamp] | None:
        """What changes when a member does; of directories only what they are, for what is in them is their own matter."""
        with opened(self._top, path, way) as descriptor:
            if descriptor is None:
                return None
            stamps: set[MemberStamp] = set()
            with os.scandir(descriptor) as members:
                for member in members:
                    try:
                        found = member.stat(follow_symlinks=False)
                    except OSError:
                        continue  # deleted meanwhile
                    if stat.S_ISDIR(found.st_mode):
                        stamps.add((member.name, found.st_ino, found.st_mode, 0, 0, 0))
                    else:
                        times = found.st_mtime_ns, found.st_ctime_ns
                        stamps.add((member.name, found.st_ino, found.st_mode, found.st_size, *times))
            return frozenset(stamps)
