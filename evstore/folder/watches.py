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
from pathlib import Path

from inotify_simple import INotify, flags, parse_events

from evstore.folder.source import Bell, Heard, IsWatched, LostTrack, Unavailable, Vanished
from evstore.paths import ContentPath

# Plain integers: the enum's own arithmetic would cost more than all the rest of reading an event.
CREATE, DELETE = int(flags.CREATE), int(flags.DELETE)
MOVED_FROM, MOVED_TO = int(flags.MOVED_FROM), int(flags.MOVED_TO)
MODIFY, ATTRIB, IS_DIRECTORY = int(flags.MODIFY), int(flags.ATTRIB), int(flags.ISDIR)
OVERFLOW, IGNORED = int(flags.Q_OVERFLOW), int(flags.IGNORED)
ROOT_GONE = int(flags.DELETE_SELF | flags.MOVE_SELF)
# Opening and reading a file is none of them. Files that are unlinked but still open are nobody's business.
CHANGES = (
    CREATE | DELETE | MOVED_FROM | MOVED_TO | MODIFY | ATTRIB | int(flags.CLOSE_WRITE | flags.EXCL_UNLINK)
)
ROOT_MASK = CHANGES | ROOT_GONE | int(flags.ONLYDIR)
MASK = CHANGES | int(flags.ONLYDIR | flags.DONT_FOLLOW)

GATHER = (
    0.01  # seconds that events may gather: the kernel merges repeated ones, and one reading takes them all
)
SLICE = 16384  # bytes at a time, some 500 events: between two slices other threads get their turn
SLICES = 64  # at most, before what was heard can be told
LIMITS = {
    errno.ENOSPC: ("watched directories", "max_user_watches"),
    errno.EMFILE: ("programs that watch", "max_user_instances"),
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
            self._writing: set[tuple[int, str]] = set()
            self._written_before: frozenset[tuple[int, str]] = frozenset()
            self._by_wd: dict[int, Directory] = {}
            self._root = self._watch_root()
            self._enter_all(self._below(self._root))
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
        if self._identity() != self._identified:
            raise LostTrack("it is another folder now")

    def repositories(self) -> list[str]:
        return [self._disk_path(path) for path in map(self._path, self._repositories) if path is not None]

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

    def take(self) -> frozenset[ContentPath]:
        for stray in self._strays:
            self._forget(stray)
        self._strays.clear()
        paths = frozenset(path for path in map(self._path, self._changed) if path is not None)
        self._changed.clear()
        self._written_before = frozenset(self._writing)
        self._writing.clear()
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
                self._note_repository(
                    directory, bool(mask & (CREATE | MOVED_TO)), bool(mask & (DELETE | MOVED_FROM))
                )
            self._changed.add(directory)
            heard = max(heard, self._loudness(wd, mask, name))
        return heard

    def _loudness(self, wd: int, mask: int, name: str) -> Heard:
        """A file that was being written when the last changes were told, and still is, keeps nobody waiting."""
        if not mask & MODIFY:
            return Heard.CHANGE
        self._writing.add((wd, name))
        return Heard.WRITING if (wd, name) in self._written_before else Heard.CHANGE

    def _note_directory(self, parent: Directory, mask: int, name: str) -> None:
        came, went = bool(mask & (CREATE | MOVED_TO)), bool(mask & (DELETE | MOVED_FROM))
        if name == ".git":
            self._note_repository(parent, came, went)
        if went:
            self._leave(parent, name)
        elif came or name not in parent.children:  # metadata: it may have become readable
            self._enter_all([(parent, name)])

    def _note_repository(self, directory: Directory, came: bool, went: bool) -> None:
        if came:
            self._repositories.add(directory)
        elif went:
            self._repositories.discard(directory)

    def _enter_all(self, places: list[tuple[Directory, str]]) -> None:
        """Watch the directories at these places and all below them, and take all of them for changed."""
        while places:
            parent, name = places.pop()
            directory = self._enter(parent, name)
            if directory is not None:
                self._changed.add(directory)
                places += self._below(directory)

    def _enter(self, parent: Directory, name: str) -> Directory | None:
        """Watch what is at this place now; None if that is no directory, or one that is not to be watched."""
        above = self._path(parent)
        if above is None:
            return None  # it has been moved out of the folder
        path = above.child(name)
        known = parent.children.get(name)
        wd = self._add_watch(path, MASK) if self._is_watched(path) else None
        if known is not None:
            if known.wd == wd:
                return known
            self._leave(parent, name)
        if wd is None:
            return None
        directory = self._by_wd.get(wd)
        if directory is None:
            directory = self._by_wd[wd] = Directory(wd, parent, name)
        else:  # it has been moved here
            if directory in parent.upwards():  # only for as long as moves of those above are not told yet
                raise LostTrack(f"directories change places too fast at {str(path)!r}")
            self._detach(directory)
            self._strays.discard(directory)
            directory.parent, directory.name = parent, name
        parent.children[name] = directory
        return directory

    def _below(self, directory: Directory) -> list[tuple[Directory, str]]:
        """The places of the directories in this one; what was there before and is not now, is left."""
        names, repository = self._list(directory)
        self._note_repository(directory, repository, not repository)
        for name in directory.children.keys() - names:
            self._leave(directory, name)
        return [(directory, name) for name in names]

    def _list(self, directory: Directory) -> tuple[set[str], bool]:
        """The names of the directories in this one, and whether there is a `.git`."""
        path = self._path(directory)
        if path is None:
            return set(), False
        names: set[str] = set()
        repository = False
        try:
            with os.scandir(self._disk_path(path)) as members:
                for member in members:
                    repository = repository or member.name == ".git"
                    if member.is_dir(follow_symlinks=False):
                        names.add(member.name)
        except OSError:
            pass  # gone already, or not to be read: its own changes, or its parent's, tell when that is over
        return names, repository

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

    def _watch_root(self) -> Directory:
        self._identified = self._identity()
        wd = self._add_watch(ContentPath(), ROOT_MASK)
        if wd is None:
            raise Vanished
        root = self._by_wd[wd] = Directory(wd, None, "")
        return root

    def _identity(self) -> tuple[int, int]:
        try:
            found = os.stat(self._top)
        except OSError as error:
            raise Vanished from error
        return found.st_dev, found.st_ino

    def _add_watch(self, path: ContentPath, mask: int) -> int | None:
        """The number of the watch on this directory; None if there is no directory that can be watched."""
        try:
            return self._inotify.add_watch(self._disk_path(path), mask)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise _unavailable(error) from error
            return None

    def _path(self, directory: Directory) -> ContentPath | None:
        """Where it is in the folder; None if it has been moved out of it."""
        *names, top = directory.upwards()
        return ContentPath("/".join(each.name for each in reversed(names))) if top is self._root else None

    def _disk_path(self, path: ContentPath) -> str:
        return f"{self._top}/{path}" if path else self._top


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
