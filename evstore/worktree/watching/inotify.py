"""Watching with Linux's inotify: one watch for each directory, and a tree that says where each one is.

Why not a library that watches recursively: watchfiles follows symbolic links out of the folder, hears each opening
of a file, and can leave no directory out; watchdog can leave none out either. What is left to do over the bare calls
(inotify_simple) is the tree, and it is small, because a watch belongs to a directory and not to a path: asked to
watch a directory that it watches already, the kernel answers with the same number, wherever that directory is now.

What holds at each moment: a directory is watched *before* it is listed. So whatever is missing in the listing is
still to be told, in whatever order directories are made, filled, moved and made again.
"""

from __future__ import annotations

import errno
import math
import os
import select
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from inotify_simple import INotify, flags, parse_events

from evstore.core.paths import ContentPath
from evstore.worktree.disk.dir_fd_cache import DirFdCache
from evstore.worktree.watching.source import (
    EXHAUSTED,
    Bell,
    Heard,
    IsWatched,
    LostTrack,
    Unavailable,
    Vanished,
    opened,
)

# Plain integers: the enum's own arithmetic would cost more than all the rest of reading an event.
CAME, WENT = int(flags.CREATE | flags.MOVED_TO), int(flags.DELETE | flags.MOVED_FROM)
IS_DIRECTORY, OVERFLOW, IGNORED = int(flags.ISDIR), int(flags.Q_OVERFLOW), int(flags.IGNORED)
ROOT_GONE = int(flags.DELETE_SELF | flags.MOVE_SELF)
# Opening and reading a file is none of them. Files that are unlinked but still open are nobody's business.
CHANGES = CAME | WENT | int(flags.MODIFY | flags.ATTRIB | flags.CLOSE_WRITE | flags.EXCL_UNLINK)
ROOT_MASK = CHANGES | ROOT_GONE | int(flags.ONLYDIR)
MASK = CHANGES | int(flags.ONLYDIR)

GATHER = 0.01  # seconds that events may gather: the kernel merges repeated ones, and all are read at once
SLICE = 16384  # bytes at a time, some 500 events: between two slices other threads get their turn
SLICES = 64  # at most, before what was heard can be told
REMEMBERED = 1000  # events, at most, of which is known whether they go on without a pause
FileEvent = tuple[int, int, str]  # number of the watch, mask, name
LIMITS = {
    errno.ENOSPC: ("watched directories", "max_user_watches"),
    errno.EMFILE: ("programs that watch (or evstore's own of open files: ulimit -n)", "max_user_instances"),
}


class Directory:
    """A watched directory and its place. Renaming it, or one above it, leaves the watch as it is."""

    __slots__ = ("children", "name", "parent", "wd")

    def __init__(self, wd: int, parent: Directory | None, name: str) -> None:
        self.wd = wd
        self.parent = parent
        self.name = name
        self.children: dict[str, Directory] = {}

    def upwards(self) -> Iterator[Directory]:
        directory: Directory | None = self
        while directory is not None:
            yield directory
            directory = directory.parent


class Inotify:
    """See `Source`. All below the root is watched once this is made."""

    how = "inotify"

    def __init__(self, root: Path, is_watched: IsWatched, bell: Bell) -> None:
        self._top = os.fspath(root)
        self._is_watched = is_watched
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            raise _unavailable(error) from error
        try:
            self._poll = select.poll()
            self._poll.register(self._inotify.fileno(), select.POLLIN)
            self._poll.register(bell.fileno(), select.POLLIN)
            self._changed: set[Directory] = set()
            self._strays: set[Directory] = set()  # gone from their place; they may turn up at another one
            self._repositories: set[Directory] = set()
            self._heard: set[FileEvent] = set()  # since the last changes were told
            self._incessant: set[FileEvent] = set()
            self._by_wd: dict[int, Directory] = {}
            self._watch_root()
            self._changed.clear()
        except BaseException:
            self._inotify.close()
            raise

    @property
    def watches(self) -> int:
        return len(self._by_wd)

    def close(self) -> None:
        self._inotify.close()

    def check(self) -> None:
        """A folder above may have been renamed, or another disk be mounted here: no event tells that."""
        try:
            found = os.stat(self._top)
        except OSError as error:
            raise Vanished from error
        if (found.st_dev, found.st_ino) != self._identified:
            raise LostTrack("it is another folder now")

    def repositories(self) -> list[str]:
        return [
            os.path.join(self._top, path) for path in map(self._path, self._repositories) if path is not None
        ]

    def read(self, seconds: float) -> Heard:
        ready = dict(self._poll.poll(math.ceil(seconds * 1000)))
        heard = Heard.NOTHING
        if self._inotify.fileno() in ready:
            time.sleep(GATHER)
            for _ in range(SLICES):
                try:
                    data = os.read(self._inotify.fileno(), SLICE)
                except BlockingIOError:
                    break
                heard = max(heard, self._note(data))
        return heard

    def take(self, *, restless: bool) -> frozenset[ContentPath]:
        for stray in self._strays:
            self._forget(stray)
        self._strays.clear()
        paths = frozenset(path for path in map(self._path, self._changed) if path is not None)
        self._changed.clear()
        self._incessant = self._heard if restless else self._incessant & self._heard
        self._heard = set()
        return paths

    def _note(self, data: bytes) -> Heard:
        heard = Heard.NOTHING
        for wd, mask, _, name in parse_events(data):
            if mask & OVERFLOW:
                raise LostTrack("more happened than the kernel could keep")
            directory = self._by_wd.get(wd)
            if directory is None:
                continue  # forgotten meanwhile: no longer in the folder
            if mask & (ROOT_GONE | IGNORED):
                self._watch_ended(directory)
            elif mask & IS_DIRECTORY and name:
                self._note_directory(directory, mask, name)
            elif name == ".git":
                self._note_repository(directory, bool(mask & CAME), bool(mask & WENT))
            self._changed.add(directory)
            heard = max(heard, self._loudness((wd, mask, name)))
        return heard

    def _loudness(self, event: FileEvent) -> Heard:
        """What has gone on without a pause until the last changes were told, and still does, keeps nobody waiting."""
        if len(self._heard) < REMEMBERED:
            self._heard.add(event)
        return Heard.REPEATED if event in self._incessant else Heard.CHANGE

    def _note_directory(self, parent: Directory, mask: int, name: str) -> None:
        """Look what is there now: when two directories change places, both have come and both have gone."""
        if name == ".git":
            self._note_repository(parent, bool(mask & CAME), bool(mask & WENT))
        if mask & (CAME | WENT) or name not in parent.children:  # or metadata: it may have become readable
            self._enter_all([(parent, name)])

    def _note_repository(self, directory: Directory, came: bool, went: bool) -> None:
        if came:
            self._repositories.add(directory)
        elif went:
            self._repositories.discard(directory)

    def _enter_all(self, places: list[tuple[Directory, str]]) -> None:
        """Watch the directories at these places and all below them, and take all of them for changed."""
        with closing(DirFdCache()) as way:
            while places:
                parent, name = places.pop()
                above = self._path(parent)
                if above is not None:  # else it has been moved out of the folder
                    places += self._enter(parent, name, above.child(name), way)

    def _enter(
        self, parent: Directory, name: str, path: ContentPath, way: DirFdCache
    ) -> list[tuple[Directory, str]]:
        """Watch what is at this place now, and return the places in it; none if that is no directory to be watched."""
        if not self._is_watched(path):
            self._leave(parent, name)
            return []
        with opened(self._top, path, way) as descriptor:
            if descriptor is None:
                self._leave(parent, name)
                return []
            directory = self._place(parent, name, self._add_watch(descriptor, MASK))
            self._changed.add(directory)
            return self._below(directory, descriptor)

    def _place(self, parent: Directory, name: str, wd: int) -> Directory:
        """The directory with this watch, which is `name` in `parent` now."""
        known = parent.children.get(name)
        if known is not None:
            if known.wd == wd:
                return known
            self._leave(parent, name)
        directory = self._by_wd.get(wd)
        if directory is None:
            directory = self._by_wd[wd] = Directory(wd, parent, name)
        else:  # it has been moved here
            if directory in parent.upwards():  # as long as the moves of those above are not told yet
                raise LostTrack("directories change places faster than it is told")
            self._detach(directory)
            self._strays.discard(directory)
            directory.parent, directory.name = parent, name
        parent.children[name] = directory
        return directory

    def _below(self, directory: Directory, descriptor: int) -> list[tuple[Directory, str]]:
        """The places of the directories in this one; what was there before and is not now, is left."""
        try:
            with os.scandir(descriptor) as listing:
                members = {member.name: member.is_dir(follow_symlinks=False) for member in listing}
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            return []  # the disk can't say
        self._note_repository(directory, ".git" in members, ".git" not in members)
        for name in [name for name in directory.children if not members.get(name)]:
            self._leave(directory, name)
        return [(directory, name) for name, is_directory in members.items() if is_directory]

    def _leave(self, parent: Directory, name: str) -> None:
        directory = parent.children.get(name)
        if directory is not None:
            self._detach(directory)
            self._strays.add(directory)

    def _detach(self, directory: Directory) -> None:
        if directory.parent is not None:
            del directory.parent.children[directory.name]
            directory.parent = None

    def _watch_ended(self, directory: Directory) -> None:
        """It was deleted, or its disk was unmounted: then there is another directory in its place."""
        if directory is self._root:
            raise Vanished
        parent, name = directory.parent, directory.name
        del self._by_wd[directory.wd]
        self._detach(directory)
        self._strays.add(directory)
        if parent is not None:
            self._changed.add(parent)
            self._enter_all([(parent, name)])

    def _forget(self, stray: Directory) -> None:
        """End the watches of what is no longer in the folder."""
        left = [stray]
        while left:
            directory = left.pop()
            left += directory.children.values()
            self._changed.discard(directory)
            self._repositories.discard(directory)
            if self._by_wd.pop(directory.wd, None) is not None:
                try:
                    self._inotify.rm_watch(directory.wd)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # it was deleted: the watch has ended by itself
                        raise

    def _watch_root(self) -> None:
        with closing(DirFdCache()) as way, opened(self._top, ContentPath(), way) as descriptor:
            if descriptor is None:
                raise Vanished
            if not os.path.exists(f"/proc/self/fd/{descriptor}"):
                raise Unavailable(
                    "there is no /proc here, without which links can't be told from what they lead to"
                )
            found = os.fstat(descriptor)
            self._identified = found.st_dev, found.st_ino
            wd = self._add_watch(descriptor, ROOT_MASK)
            self._root = self._by_wd[wd] = Directory(wd, None, "")
            self._enter_all(self._below(self._root, descriptor))

    def _add_watch(self, descriptor: int, mask: int) -> int:
        """The number of the watch on an open directory: by its descriptor, for a path might lead elsewhere by now."""
        try:
            return self._inotify.add_watch(f"/proc/self/fd/{descriptor}", mask)
        except OSError as error:
            raise _unavailable(error) from error

    def _path(self, directory: Directory) -> ContentPath | None:
        """Where it is in the folder; None if it has been moved out of it."""
        *names, top = directory.upwards()
        return ContentPath("/".join(each.name for each in reversed(names))) if top is self._root else None


def _unavailable(error: OSError) -> Unavailable:
    what, setting = LIMITS.get(error.errno or 0, ("", ""))
    if not setting:
        return Unavailable(f"this system does not tell what changes ({error.strerror})")
    try:
        limit = int(Path("/proc/sys/fs/inotify", setting).read_text())
    except (OSError, ValueError):
        limit = 0
    return Unavailable(
        f"the system's limit of {what} is reached (fs.inotify.{setting} is {limit});"
        f" to raise it: sudo sysctl fs.inotify.{setting}={max(4 * limit, 524288 if error.errno == errno.ENOSPC else 1024)},"
        " the same line in /etc/sysctl.d/evstore.conf to keep it, and start evstore again"
    )
