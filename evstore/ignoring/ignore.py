"""What in the served folder has no versions, and why.

Hidden names and what programs leave behind never have; then `.evstoreignore` files say it, at the top and in any
directory, as `.gitignore` files do to git; last, a file may be too large.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from typing import Protocol

from evstore import naming
from evstore.disk.errors import Unreadable
from evstore.disk.found import Found, Stamp, What
from evstore.errors import NotFound
from evstore.ignoring.patterns import Patterns
from evstore.paths import ContentPath

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
    """The disk, as far as it is needed here; `evstore.disk.disk.Disk` is one."""

    def look(self, path: ContentPath) -> Found | None: ...

    def open(self, path: ContentPath) -> tuple[BufferedReader, Found]: ...


@dataclass(frozen=True, slots=True)
class _Directory:
    """What holds for everything in a directory."""

    reason: Reason | None  # why all of it has no versions
    stamp: Stamp | None  # of its ignore file
    patterns: tuple[tuple[ContentPath, Patterns], ...]  # with the directories of their files, nearest first
    problem: str | None


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
        """Look at the directory's ignore file again; whether it has changed since it was read.

        If so, everything in the directory has to be decided anew. Raises as `why`.
        """
        known = self._directories.get(directory)
        if known is None or self._stamp(directory) == known.stamp:
            return False
        self.forget(directory)
        return True

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
            if len(self._directories) >= MAX_DIRECTORIES:
                self._directories = {}
            self._directories[path] = known

    def _enter(self, path: ContentPath, above: _Directory | None) -> _Directory:
        if above is not None:
            reason = above.reason or _by_name(path, True, above)
            if reason is not None:
                return _Directory(reason, None, (), None)
        outer = above.patterns if above else ()
        stamp = self._stamp(path)
        if stamp is None:
            return _Directory(None, None, outer, None)
        text, problem = self._read(path.child(IGNORE_FILE))
        patterns = Patterns(text)
        if not patterns.complete:
            problem = f"{path.child(IGNORE_FILE)} has more or longer lines than evstore regards"
        return _Directory(None, stamp, ((path, patterns), *outer), problem)

    def _stamp(self, directory: ContentPath) -> Stamp | None:
        found = self._files.look(directory.child(IGNORE_FILE))
        return found.stamp if found is not None and found.what is What.FILE else None

    def _read(self, path: ContentPath) -> tuple[str, str | None]:
        """The text, and what is wrong with the file. One that can't be read says nothing."""
        try:
            file, _ = self._files.open(path)
            with file:
                content = file.read(MAX_SIZE + 1)
        except (NotFound, Unreadable) as error:
            return "", error.message
        if len(content) > MAX_SIZE:
            # a line that is cut off could name something else
            content = content[:MAX_SIZE].rpartition(b"\n")[0]
            return content.decode(
                errors="surrogateescape"
            ), f"Only the first {MAX_SIZE} bytes of {path} count"
        return content.decode(errors="surrogateescape"), None


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
