"""Symbolic links in the folder: read as what they lead to, if that is in the folder and may be seen itself; never written through.

A link's way is walked here name by name, and only the real path at its end is ever opened, without following
anything (`disk.py`). So whoever swaps a link in the meantime gets nothing by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from evstore.core.errors import Forbidden, NotFound
from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, FileStat, FileType

MAX_LINKS = 40  # on the way to a file, as Linux has it


class Links:
    """Threads may share it. Its methods block, and raise as `Disk.look` does."""

    def __init__(self, disk: Disk, own: Callable[[ContentPath], bool]) -> None:
        """`own` tells evstore's files, to which nothing leads."""
        self._disk = disk
        self._own = own

    def is_own(self, path: ContentPath) -> bool:
        """Whether it is a file of evstore's, or below one."""
        while path:
            if self._own(path):
                return True
            path = path.parent
        return False

    def is_link(self, path: ContentPath) -> bool:
        """Whether there is a link at `path` itself."""
        found = self._disk.look(path)
        return found is not None and found.what is FileType.LINK

    def check_way(self, path: ContentPath, *, above: bool = False) -> None:
        """Raise Forbidden when there is a link at `path` (with `above` only: on the way to it), or evstore's own file."""
        if self.is_own(path):
            raise Forbidden(f"{path} is a part of evstore's log.")
        way = [path.parent] if above else [path]
        while way[-1]:
            way.append(way[-1].parent)
        for place in reversed(way[:-1]):
            found = self._disk.look(place)
            if found is None:
                return
            if found.what is FileType.LINK:
                target = self.follow(place)
                whither = (
                    f"to {target.path or '/'}; write there" if target else "to nothing that can be seen here"
                )
                raise Forbidden(f"{place} is a symbolic link {whither}: nothing is written through links.")

    def follow(self, path: ContentPath) -> FileStat | None:
        """The file or directory that `path` leads to by way of links, which a client may see; else None."""
        place, found = ContentPath(), None
        ahead, links = deque(path.names), 0
        while ahead:
            name = ahead.popleft()
            if name == "..":
                if not place:
                    return None  # out of the folder
                place = place.parent
                continue
            here = place.child(name)
            found = self._disk.look(here)
            if found is None or found.what is FileType.OTHER or (found.what is FileType.FILE and ahead):
                return None
            if found.what is not FileType.LINK:
                place = here
                continue
            links += 1
            target = self._target(here)
            if target is None or links > MAX_LINKS:
                return None
            if target.startswith("/"):
                place = ContentPath()
            ahead.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))
        if place.hidden or self.is_own(place):
            return None
        found = self._disk.look(place)
        return found if found is not None and found.what in (FileType.FILE, FileType.DIRECTORY) else None

    def _target(self, link: ContentPath) -> str | None:
        """What a link says, a path from the link's directory, or with a slash from the folder's top; None: it leads out."""
        try:
            target = self._disk.read_link(link)
        except NotFound:
            return None
        if not target.startswith("/"):
            return target
        root = f"{self._disk.root}".rstrip("/")
        if target != root and not target.startswith(f"{root}/"):
            return None
        return target[len(root) :] or "/"
