"""Which directories of a folder have changed on the disk. It knows neither the log nor the store.

    async with Watcher(root, is_watched) as watcher:   # from here on nothing that happens is missed
        ...                                            # so look through the whole folder now
        async for changes in watcher.changes():
            if changes.everything: ...                 # look through the whole folder again
            for directory in changes.paths: ...        # its members, but not what is below its subdirectories

One thread does it all: it waits for the system's events, gathers them until it is quiet, and hands the event loop
one set of directories at a time. Whatever goes wrong ends in one of two ways: everything is said to have changed,
or another way of watching is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from evstore.core.errors import EvstoreError
from evstore.core.paths import MAX_PATH, ContentPath
from evstore.worktree.watching import git
from evstore.worktree.watching.polling import Polling
from evstore.worktree.watching.source import Bell, Heard, IsWatched, LostTrack, Source, Unavailable, Vanished

if sys.platform == "linux":
    from evstore.worktree.watching.inotify import Inotify as SystemEvents
else:
    from evstore.worktree.watching.native import Native as SystemEvents

QUIET = 0.15  # seconds without a change until what was gathered is told
LONGEST = 2.0  # seconds from the first change until it is told although others follow
GIT = 10.0  # seconds from the first change, at most, while git is at work
CHECK = 2.0  # seconds between two looks whether the folder is there, and the same
PATIENCE = 5.0  # seconds for the thread to end: on a dead network disk a call may hang for ever

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """Directories whose members were made, deleted, renamed, written or given other rights; or all of them.

    A directory that is new at its place (made, renamed, moved in, mounted) is here with all that is below it; one
    that is gone is not, but its parent is. Names that are not UTF-8 are as `os.fsdecode` makes them. A directory may
    be gone again when the reader looks.
    """

    paths: frozenset[ContentPath]
    # the whole folder has to be looked through; it may even be gone. `paths` is the root then
    everything: bool = False

    def __or__(self, other: Changes) -> Changes:
        return Changes(self.paths | other.paths, self.everything or other.everything)


EVERYTHING = Changes(frozenset([ContentPath()]), everything=True)


@dataclass(frozen=True, slots=True)
class State:
    """How a folder is watched, for people."""

    how: str  # "inotify", "watchfiles", "polling" or, while the folder is not there, "nothing"
    watches: int  # directories that the system was asked to watch
    why: str | None  # why it is polling although it was not told to


class Watcher:
    """Tells which directories of a folder have changed on the disk. For one reader, on one event loop.

    `is_watched` is asked for each directory but the root, on a thread; what is in a directory for which it says no
    is neither watched nor looked at; where it raises an EvstoreError, it is. Symbolic links are never followed,
    but for `root` itself.
    With `polling` it looks itself, every 2 s or less often, and asks the system for no events. What it hears it
    tells when there was nothing more for `quiet` seconds. Within `going_through` it asks for one directory after the other.
    """

    def __init__(
        self,
        root: Path,
        is_watched: IsWatched,
        *,
        polling: bool = False,
        quiet: float = QUIET,
        going_through: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._root = root
        self._wants = is_watched
        self._polling = polling
        self._quiet = quiet
        self._going_through = going_through
        self._why: str | None = None
        self._source: Source | None = None
        self._around = git.repository_around(root)
        self._bell = Bell()
        self._closing = False
        self._refreshing = False
        self._begun = False
        self._vanished = False
        self._doubtful = False  # something may have changed that nobody told
        self._thread: threading.Thread | None = None
        self._watching = asyncio.Event()
        self._ended = asyncio.Event()
        self._arrived = asyncio.Event()
        self._waiting: Changes | None = None

    @property
    def state(self) -> State:
        source = self._source
        return State(source.how, source.watches, self._why) if source else State("nothing", 0, self._why)

    @property
    def closed(self) -> bool:
        return self._closing

    async def start(self) -> None:
        """Watch. What happens after this has returned is told by `changes`; a folder that is not there is waited for."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="folder-watcher", daemon=True)
            self._thread.start()
        await self._watching.wait()

    async def changes(self) -> AsyncIterator[Changes]:
        """What has changed, a set at a time, until the watcher is closed. It raises nothing.

        While the reader is busy, what follows is gathered into one set.
        """
        await self.start()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._closing:
                return
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                yield waiting

    def refresh(self) -> None:
        """`is_watched` says something else from now on: go through the folder again, and say that everything has changed."""
        if self._closing:
            return
        self._refreshing = True
        self._bell.ring()

    async def aclose(self) -> None:
        """Stop watching; `changes` ends. A second time does nothing."""
        if self._closing:
            return
        self._closing = True
        self._arrived.set()
        self._bell.ring()
        if self._thread is not None:
            try:
                await asyncio.wait_for(self._ended.wait(), PATIENCE)
            except TimeoutError:
                logger.warning("The disk of %s does not answer; its watcher is left behind", self._root)
                return
            self._thread.join()
        self._bell.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # All below runs on the thread.

    def _run(self) -> None:
        while not self._closing:
            self._watch()
            self._source = None
        self._tell(self._ended.set)

    def _watch(self) -> None:
        """Watch until this is closed, or until another beginning has to be made."""
        self._bell.silence()
        if self._closing:
            return
        try:
            with contextlib.closing(self._open()) as source:
                self._begin(source)
                self._follow(source)
        except Vanished:
            self._wait_for_folder()
        except LostTrack as lost:
            logger.info("Looking through all of %s again: %s", self._root, lost)
            self._doubtful = True
        except Unavailable as unavailable:
            logger.warning(
                "Changes in %s are looked for every few seconds only, for %s.", self._root, unavailable
            )
            self._polling, self._why = True, str(unavailable)
            self._doubtful = self._begun
        except Exception:
            logger.exception("Watching %s has failed; it begins anew", self._root)
            self._doubtful = True
            self._bell.wait(CHECK)

    def _open(self) -> Source:
        with self._going_through():
            return (Polling if self._polling else SystemEvents)(self._root, self._is_watched, self._bell)

    def _is_watched(self, directory: ContentPath) -> bool:
        # nested deeper than any path can tell: no entry can be there
        if len(os.fsencode(directory)) > MAX_PATH:
            return False
        try:
            return self._wants(directory)
        except EvstoreError:
            return True  # it can't be known now, as when a file can't be read: to hear too much harms nobody

    def _begin(self, source: Source) -> None:
        if self._vanished:
            logger.info("%s is there again", self._root)
            self._vanished = False
            self._doubtful = True
        self._source = source
        self._begun = True
        self._tell(self._watching.set)

    def _wait_for_folder(self) -> None:
        self._source = None
        if not self._vanished:
            self._vanished = True
            logger.warning("%s is not there (any more); evstore goes on when it is there again", self._root)
            self._hand_over(EVERYTHING)
        self._begun = True
        self._tell(self._watching.set)
        self._bell.wait(CHECK)

    def _follow(self, source: Source) -> None:
        """Gather changes and hand them over, for as long as this source can tell them."""
        everything, self._doubtful = self._doubtful, False
        checked = last = time.monotonic()
        first = last if everything else None
        due = last + self._quiet
        while True:
            heard = source.read(CHECK if first is None else max(0.0, due - time.monotonic()))
            if self._rung():
                return
            now = time.monotonic()
            if now - checked >= CHECK:
                source.check()
                checked = now
            if heard is not Heard.NOTHING:
                first = first or now
                last = now if heard is Heard.CHANGE else last
            if first is None:
                continue
            due = self._due(source, first, last, now)
            if now >= due:
                source.check()  # a folder that is deleted is deleted file by file
                paths = source.take(restless=now < last + self._quiet)
                self._hand_over(EVERYTHING if everything else Changes(paths))
                first, everything = None, False

    def _due(self, source: Source, first: float, last: float, now: float) -> float:
        """When to tell what is gathered. What git does is told when it is done, as one."""
        due = first + LONGEST if last < first else min(last + self._quiet, first + LONGEST)
        if now < due or now >= first + GIT:
            return due
        repositories = [*source.repositories(), *([self._around] if self._around else [])]
        return now + self._quiet if any(map(git.at_work, repositories)) else due

    def _rung(self) -> bool:
        """Whether this is closed; LostTrack if somebody has asked for a new beginning."""
        if self._bell.is_set():
            self._bell.silence()  # before its reasons are looked at, so that none is missed
        if self._refreshing:
            self._refreshing = False
            raise LostTrack("what is watched has changed")
        return self._closing

    def _hand_over(self, changes: Changes) -> None:
        if changes.paths:
            self._tell(functools.partial(self._receive, changes))

    def _receive(self, changes: Changes) -> None:
        """On the event loop."""
        self._waiting = changes if self._waiting is None else self._waiting | changes
        self._arrived.set()

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the event loop has ended without closing this
            self._closing = True
