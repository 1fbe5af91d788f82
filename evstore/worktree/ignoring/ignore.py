"""What in the served folder has no versions, and why.

Hidden names and what programs leave behind never have; then `.evstoreignore` files say it, at the top and in any
directory, as `.gitignore` files do to git; last, a file may be too large.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BufferedReader
from typing import Protocol

from evstore.core import naming
from evstore.core.errors import NotFound
from evstore.core.paths import ContentPath
from evstore.worktree.disk.errors import Unreadable
from evstore.worktree.disk.file_stat import FileStat, FileType, StatStamp
from evstore.worktree.ignoring.patterns import Patterns

IGNORE_FILE = ".evstoreignore"
MAX_SIZE = 256 * 1024  # bytes of an ignore file that are read
MAX_DIRECTORIES = 200_000  # that are remembered
PACKAGES = ("node_modules", "site-packages")  # which npm and pip install, and can install again


class Kind(StrEnum):
    HIDDEN = "hidden"
    OWN = "own"
    LEAVING = "leaving"
    IGNORED = "ignored"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something has no versions; as text, a piece of a sentence about it."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return self.text


HIDDEN = Reason(Kind.HIDDEN, "its name begins with a dot, or that of a folder above it")
OWN = Reason(Kind.OWN, "it is a part of evstore's log")
LEAVING = Reason(Kind.LEAVING, "programs make it, and can make it again")


class Files(Protocol):
    """The disk, as far as it is needed here; `evstore.worktree.disk.disk.Disk` is one."""

    def look(self, path: ContentPath) -> FileStat | None: ...

    def open(self, path: ContentPath) -> tuple[BufferedReader, FileStat]: ...


@dataclass(frozen=True, slots=True)
class _Directory:
    """What holds for everything in a directory."""

    reason: Reason | None  # why all of it has no versions
    said: _Said | None = None  # by its ignore file
    patterns: tuple[
        tuple[ContentPath, Patterns], ...
    ] = ()  # with the directories of their files, nearest first
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    """An ignore file as it was read."""

    stamp: StatStamp
    text: str
    problem: str | None  # what is wrong with the file


class Ignore:
    """Decides for each path. It remembers what ignore files say until `refresh` is called. Threads may share it."""

    def __init__(
        self, files: Files, *, max_size: int, own: Callable[[ContentPath], bool] = lambda path: False
    ) -> None:
        """`max_size`: bytes above which a file has no versions. `own` tells evstore's files."""
        self._own = own
        self._files = files
        self._max_size = max_size
        self._directories: dict[ContentPath, _Directory] = {}
        self._forgotten = 0  # how often; what was read before the last time is not remembered
        self._overflowed = False  # not all directories that were asked for are remembered
        self._lock = threading.Lock()

    def why(self, path: ContentPath, *, is_directory: bool, size: int = 0) -> Reason | None:
        """Why there are no versions of it; None when there are. Only real directories count as such, no links to them.

        Raises Unreadable when it can't be known what an ignore file says, FolderGone.
        """
        if not path:
            return None
        directory = self._directory(path.parent)
        if directory.reason is not None:
            return directory.reason
        reason = OWN if self._own(path) else _by_name(path, is_directory, directory)
        if reason is None and not is_directory and size > self._max_size:
            return Reason(Kind.TOO_LARGE, f"it is larger than {self._max_size} bytes")
        return reason

    def refresh(self, directory: ContentPath) -> bool:
        """Look at the directory's ignore file again; whether it says something else than when it was read.

        If so, everything in the directory has to be decided anew. Raises as `why`.
        """
        forgotten, known = self._forgotten, self._directories.get(directory)
        if known is None:  # with an ignore file, it would not have been dropped
            return self._overflowed and self._stamp(directory) is not None
        if known.reason is not None:
            return False
        stamp = self._stamp(directory)
        if stamp == (known.said and known.said.stamp):
            return False
        said = self._read(directory)
        if said and known.said and (said.text, said.problem) == (known.said.text, known.said.problem):
            self._remember(directory, replace(known, said=said), forgotten)
            return False
        self.forget(directory)
        return True

    def refresh_below(self, tops: Container[ContentPath]) -> bool:
        """`refresh` of these directories and of all below them: others may be there than those that are remembered."""
        with self._lock:
            known = [path for path in self._directories if any(above in tops for above in path.lineage)]
        changed = [path for path in known if self.refresh(path)]
        return bool(changed)

    def forget(self, directory: ContentPath) -> None:
        """Read all ignore files in the directory and below anew, when they are needed next."""
        with self._lock:
            self._forgotten += 1
            self._directories = {
                path: known
                for path, known in self._directories.items()
                if path != directory and not path.is_below(directory)
            }

    def problems(self) -> list[str]:
        """A sentence for each ignore file that could not be regarded wholly, of those that were needed so far."""
        with self._lock:
            return sorted(known.problem for known in self._directories.values() if known.problem)

    def _directory(self, path: ContentPath) -> _Directory:
        while True:
            forgotten = self._forgotten
            found = self._read_down_to(path, forgotten)
            if forgotten == self._forgotten:
                return found

    def _read_down_to(self, path: ContentPath, forgotten: int) -> _Directory:
        unknown: list[ContentPath] = []
        while (known := self._directories.get(path)) is None:
            unknown.append(path)
            if not path:
                break
            path = path.parent
        while unknown:  # from the top down; no recursion, for paths may be very deep
            path = unknown.pop()
            known = self._enter(path, known)
            self._remember(path, known, forgotten)
        assert known is not None
        return known

    def _remember(self, path: ContentPath, known: _Directory, forgotten: int) -> None:
        with self._lock:
            if forgotten != self._forgotten:
                return
            if path not in self._directories and len(self._directories) >= MAX_DIRECTORIES:
                self._drop()
            self._directories[path] = known

    def _drop(self) -> None:
        """Make room: what ignore files have said is remembered as long as possible, or no change of it would be noticed."""
        self._overflowed = True
        kept = {path: known for path, known in self._directories.items() if known.said is not None}
        self._directories = kept if len(kept) < MAX_DIRECTORIES // 2 else {}

    def _enter(self, path: ContentPath, above: _Directory | None) -> _Directory:
        if above is not None:
            reason = above.reason or _by_name(path, True, above)
            if reason is not None:
                return _Directory(reason)
        outer = above.patterns if above else ()
        said = self._read(path)
        if said is None:
            return _Directory(None, patterns=outer)
        patterns, problem = Patterns(said.text), said.problem
        if not patterns.complete:
            problem = f"{path.child(IGNORE_FILE)} has more or longer lines than evstore regards"
        return _Directory(None, said, ((path, patterns), *outer), problem)

    def _stamp(self, directory: ContentPath) -> StatStamp | None:
        found = self._files.look(directory.child(IGNORE_FILE))
        return found.stamp if found is not None and found.what is FileType.FILE else None

    def _read(self, directory: ContentPath) -> _Said | None:
        """What the directory's ignore file says, if there is one. One that can't be read says nothing."""
        began = time.time_ns()
        stamp = self._stamp(directory)
        if stamp is None:
            return None
        stamp, path = stamp.as_read(began), directory.child(IGNORE_FILE)
        try:
            file, _ = self._files.open(path)
            with file:
                content = file.read(MAX_SIZE + 1)
        except (NotFound, Unreadable) as error:
            return _Said(stamp, "", error.message)
        problem = None
        if len(content) > MAX_SIZE:
            # a line that is cut off could name something else
            content = content[:MAX_SIZE].rpartition(b"\n")[0]
            problem = f"Only the first {MAX_SIZE} bytes of {path} count"
        return _Said(stamp, content.decode(errors="surrogateescape"), problem)


def _by_name(path: ContentPath, is_directory: bool, directory: _Directory) -> Reason | None:
    """What its name says, and the ignore files above, when `directory`, which it is in, has versions itself."""
    name = path.name
    if name.startswith("."):
        return HIDDEN
    if name in PACKAGES or naming.is_leaving(name):
        return LEAVING
    for top, patterns in directory.patterns:
        rule = patterns.decide(path[len(top) + 1 if top else 0 :], name, is_directory)
        if rule is not None:
            if rule.includes:
                return None
            return Reason(Kind.IGNORED, f"{top.child(IGNORE_FILE)} names it in line {rule.line}")
    return None
