"""What lies in the folder and is not in the log: how it is found, read and changed. It knows the disk, and nothing of the log.

That is what `evstore/worktree/ignoring/` tells, and what symbolic links lead to (`links.py`). The methods block: call them in threads.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

from evstore.core import naming
from evstore.core.errors import NotFound, TooLarge, Unprocessable
from evstore.core.events import Digest
from evstore.core.paths import ContentPath, check_name
from evstore.core.units import MIB
from evstore.worktree.disk.disk import AccessDenied, Changed, Disk, FileStat, FileType, StatStamp
from evstore.worktree.disk.stat_checks import Replacing
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.unversioned.entries import OnDisk, on_disk
from evstore.worktree.unversioned.links import Links

BLOCK = MIB  # bytes read at a time
DIGESTS = 1000  # files of which the digest is remembered
LINK = "it is reached by a symbolic link"
NO_ROOM = "there is too little room for versions of it where the log is"
Pieces = Iterable[bytes]


class Unversioned:
    """The part of a folder that the log has not. Threads may share it."""

    def __init__(
        self,
        disk: Disk,
        ignore: Ignore,
        own: Callable[[ContentPath], bool],
        lacks_room: Callable[[ContentPath], bool] = lambda path: False,
    ) -> None:
        """`own` tells evstore's files, which are never shown; `lacks_room` those that the log had no room for."""
        self._disk = disk
        self._lacks_room = lacks_room
        self._ignore = ignore
        self.links = Links(disk, own)
        self._digests: OrderedDict[tuple[ContentPath, StatStamp], Digest] = OrderedDict()

    @property
    def root(self) -> Path:
        return self._disk.root

    # -- what there is ---------------------------------------------------------------

    def why(self, path: ContentPath, *, is_directory: bool = False, size: int = 0) -> str | None:
        """Why something new of that size at `path` would have no versions, or what is there has none; None if it has.

        It is quick enough for the event loop. It does not see that the way to `path` leads through a link. Hidden names
        that the log has, as from git, it keeps.
        """
        if path.hidden:
            return None
        there = self._there(path)
        if there is not None and there.what in (FileType.LINK, FileType.OTHER):
            return LINK if there.what is FileType.LINK else "it is no regular file"
        if there is not None:
            is_directory = there.what is FileType.DIRECTORY
            size = max(size, there.stamp.size)
        reason = self._ignore.why(path, is_directory=is_directory, size=size)
        if reason is None and self._lacks_room(path):
            return NO_ROOM
        return None if reason is None else reason.text

    def _there(self, path: ContentPath) -> FileStat | None:
        """What is there. What is behind a link out of the folder, nobody learns."""
        try:
            found = os.lstat(f"{self._disk.root}/{path}")  # quicker, and mostly there is nothing to say
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(found.st_mode) and found.st_size < BLOCK:
            return FileStat.of(path, found)
        return self._disk.look(path)

    def find(self, path: ContentPath) -> OnDisk | None:
        """What is at `path` and has no versions; None when there is nothing that a client may see.

        Raises Unreadable when that can't be known, FolderGone.
        """
        if path.hidden or self.links.is_own(path):
            return None
        found = self._disk.look(path)
        if found is None or found.what is FileType.LINK:
            target = self.links.follow(path)
            if target is None or target.path != path:
                return None if target is None else on_disk(path, target, linked=True)
            found = target  # there is no link any more: it has come into its place in this moment
        if found.what is FileType.OTHER:
            return None
        return None if self._is_for_log(found) else on_disk(path, found, linked=False)

    def stamp(self, path: ContentPath) -> StatStamp | None:
        """That of what is at `path` itself. Raises as `find`."""
        found = self._disk.look(path)
        return None if found is None else found.stamp

    def beside(self, directory: ContentPath, known: Container[str]) -> tuple[list[OnDisk], bool]:
        """What a directory of the log holds besides the names that the log has (`known`).

        Also whether that can have changed without a change of the directory itself. Raises as `find`, NotFound.
        """
        members: list[OnDisk] = []
        passing = False
        for found in self._visible(directory):
            name = found.path.name
            if name in known or found.what is FileType.OTHER:
                continue
            passing = passing or not naming.unlisted(name)
            if found.what is FileType.LINK:
                members += self._linked(found.path, found)
            elif not self._is_for_log(found):
                members.append(on_disk(found.path, found, linked=False))
        return members, passing

    def _is_for_log(self, found: FileStat) -> bool:
        """Whether the log will have it in a moment."""
        is_directory = found.what is FileType.DIRECTORY
        if self._ignore.why(found.path, is_directory=is_directory, size=found.stamp.size) is not None:
            return False
        if self._lacks_room(found.path):
            return False
        try:
            self.check_readable(found.path)
        except AccessDenied:
            return False
        return True

    def check_readable(self, path: ContentPath) -> None:
        """Raises Closed, as `Disk.check_readable`."""
        self._disk.check_readable(path)

    def check_directories(self, path: ContentPath) -> None:
        """Raise NotFound when a link, or a file without versions, is on the way to `path`.

        Where a directory has been in the log, a save makes it again, and what is there now would have to give way.
        Quick enough for the event loop. Raises as `Disk.look`.
        """
        found = self._disk.look(path.parent)
        if found is not None and found.what is FileType.DIRECTORY:
            return
        for above in path.lineage[:-1]:
            found = self._disk.look(above)
            if found is None:
                return
            if found.what is FileType.FILE and self._is_for_log(found):
                return  # the log will refuse it
            if found.what is not FileType.DIRECTORY:
                raise NotFound(f"No such directory: {path.parent}")

    def members(self, directory: OnDisk) -> list[OnDisk]:
        """All that a directory holds that a client may see. Raises as `find`, NotFound."""
        members: list[OnDisk] = []
        for found in self._visible(directory.place):
            path = directory.path.child(found.path.name)
            if found.what is FileType.LINK:
                members += self._linked(path, found)
            elif found.what is not FileType.OTHER:
                members.append(on_disk(path, found, linked=directory.linked))
        return members

    def _visible(self, place: ContentPath) -> Iterator[FileStat]:
        for found in self._disk.scan(place).found:
            if not found.path.name.startswith(".") and not self.links.is_own(found.path):
                yield found

    def _linked(self, path: ContentPath, link: FileStat) -> list[OnDisk]:
        target = self.links.follow(link.path)
        return [] if target is None else [on_disk(path, target, linked=True)]

    # -- reading ---------------------------------------------------------------------

    def read(self, entry: OnDisk, limit: int) -> tuple[OnDisk, bytes]:
        """A whole file, and what it was when it was read. Raises TooLarge above `limit` bytes, and as `Disk.open`."""
        file, found = self._disk.open(entry.place)
        with file:
            data = b"" if found.stamp.size > limit else file.read(limit + 1)
        if found.stamp.size > limit or len(data) > limit:
            raise TooLarge(
                f"{entry.path} has {found.stamp.size} bytes, and at most {limit} can be given in one piece: "
                f"/files/{entry.path} gives it as it is, in parts if you ask for them."
            )
        fresh = on_disk(entry.path, found, linked=entry.linked)
        return replace(fresh, digest=Digest(hashlib.sha256(data).digest()), size=len(data)), data

    def digested(self, entry: OnDisk, limit: int) -> OnDisk:
        """The same with its digest, unless it is a directory or larger than `limit` bytes. Raises as `Disk.open`."""
        if entry.is_directory or (entry.size or 0) > limit:
            return entry
        began = time.time_ns()
        file, found = self._disk.open(entry.place)
        with file:
            key = (found.path, found.stamp)
            digest = self._digests.get(key)
            if digest is None:
                digest = Digest(hashlib.file_digest(file, "sha256").digest())
                if found.stamp.as_read(began) == found.stamp:  # or the next change could look the same
                    self._remember(key, digest)
        return replace(on_disk(entry.path, found, linked=entry.linked), digest=digest)

    def _remember(self, key: tuple[ContentPath, StatStamp], digest: Digest) -> None:
        self._digests[key] = digest
        while len(self._digests) > DIGESTS:
            with suppress(KeyError):  # by another thread
                self._digests.popitem(last=False)

    def open(self, entry: OnDisk, stop: int) -> BufferedReader:
        """The file for reading, up to `stop` at least. Raises Changed when it is another by now, and as `Disk.open`."""
        file, found = self._disk.open(entry.place)
        if found.stamp.inode != entry.stamp.inode or found.stamp.size < stop:
            file.close()
            raise Changed(f"{entry.path} has changed on the disk meanwhile; ask again")
        return file

    # -- changing --------------------------------------------------------------------

    def write(
        self,
        path: ContentPath,
        pieces: Pieces,
        modified: int | None = None,
        *,
        replacing: Replacing = "anything",
        executable: bool = False,
    ) -> None:
        """Give the file these bytes, changed at `modified` (µs since 1970; None: now). `replacing` is as for `Disk.write`.

        A new file is a program if `executable`. It is on stable storage afterwards: what the log has not is nowhere else. Raises as `Disk.write`, Forbidden for links.
        """
        self.links.check_way(path)
        moment = time.time_ns() // 1000 if modified is None else modified
        self._disk.write(
            path, pieces, modified=moment, replacing=replacing, durable=True, executable=executable
        )

    def make_directory(self, path: ContentPath) -> None:
        """Raises as `Disk.make_directory`, Forbidden for links."""
        self.links.check_way(path)
        self._disk.make_directory(path)

    def make_new(self, directory: ContentPath, name: str, insert: str, pieces: Pieces | None) -> ContentPath:
        """A new file, or directory when `pieces` is None, in `directory`, with a number if the name is taken."""
        check_name(name)
        self.links.check_way(directory.child(name), above=True)
        while True:
            path = directory.child(naming.first_free(name, self._taken(directory), insert=insert))
            if pieces is None:
                self.make_directory(path)
                return path
            with suppress(Changed):  # somebody was faster
                self.write(path, pieces, replacing="nothing")
                return path

    def _taken(self, directory: ContentPath) -> Callable[[str], bool]:
        return lambda name: self._disk.look(directory.child(name)) is not None

    def free_for_copy(self, directory: ContentPath, name: str) -> ContentPath:
        """Where a copy of a file called `name` goes in `directory`."""
        free = naming.first_free(naming.copy_of(name), self._taken(directory), insert="-Copy")
        return directory.child(free)

    def rename(self, path: ContentPath, to: ContentPath) -> None:
        """Move a file, a directory, or a link itself. Raises as `Disk.rename`, Forbidden for what is behind a link.

        Raises Unprocessable for a link that would lead elsewhere from there.
        """
        self.links.check_way(path, above=True)
        self.links.check_way(to, above=True)
        if (
            path.parent != to.parent
            and self.links.is_link(path)
            and not self._disk.read_link(path).startswith("/")
        ):
            raise Unprocessable(
                f"{path} is a symbolic link, and would lead elsewhere from {to.parent or '/'}."
            )
        self._disk.rename(path, to)

    def discard(self, path: ContentPath, name: str) -> None:
        """Move a file, a directory, or a link itself to the trash, under that name. Raises as `Disk.discard`, Forbidden."""
        self.links.check_way(path, above=True)
        self._disk.discard(path, name)

    def pieces(self, entry: OnDisk) -> Generator[bytes]:
        """The file's bytes, a block at a time. Raises as `open`."""
        with self.open(entry, 0) as file:
            while block := file.read(BLOCK):
                yield block
