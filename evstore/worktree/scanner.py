"""From the disk to the log, first half: what is different in the folder from what was last written or read there.

A file is compared by its stamp; only one whose stamp is not the known one is read. What disappears in
one place and appears in another is the same entry when its inode and stamp are the same, or its bytes are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from evstore.core.errors import NotFound, Stopped
from evstore.core.events import ROOT, Digest, EntryId, Kind
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.worktree.disk.disk import Disk, FileStat, FileType, Scan, Unreadable
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.index import Index, IndexEntry, Member
from evstore.worktree.power_loss import PowerLoss

logger = logging.getLogger(__name__)

NS = 1_000_000_000
QUIET = 0.1  # seconds since its last change after which a file counts as written


class Trust(Enum):
    """What shows that a file has not been changed."""

    STAMPS = auto()  # the stamp that is known of it
    # or, when none is, size and date of the version in the log, which has just been read there
    DATES = auto()
    NOTHING = auto()  # it is read


@dataclass(frozen=True, slots=True)
class NewPath:
    """Something stands where the tree has nothing."""

    found: FileStat
    was: EntryId | None = None  # the entry that stood elsewhere, told by its inode


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file's stamp is not the known one, or the log has another mode."""

    entry: EntryId
    digest: Digest | None  # what the log has
    found: FileStat


@dataclass(frozen=True, slots=True)
class GoneEntry:
    """Nothing of that kind stands at an entry's place any more."""

    entry: EntryId
    path: ContentPath
    kind: Kind
    digest: Digest | None


@dataclass(slots=True)
class Differences:
    """What a comparison has found."""

    appeared: list[NewPath] = field(default_factory=list[NewPath])
    changed: list[ChangedFile] = field(default_factory=list[ChangedFile])
    gone: list[GoneEntry] = field(default_factory=list[GoneEntry])
    unwritten: list[EntryId] = field(default_factory=list[EntryId])  # the log has it, and the disk never had
    # directories with files that are being written
    busy: set[ContentPath] = field(default_factory=set[ContentPath])
    unreadable: dict[str, str] = field(default_factory=dict[str, str])  # by path, with the reason
    rules_changed: bool = False  # an ignore file says something else than before

    @property
    def any(self) -> bool:
        return bool(self.appeared or self.changed or self.gone)


class _Place(NamedTuple):
    """A directory that is one on both sides."""

    entry: EntryId
    path: ContentPath


TOP = _Place(ROOT, ContentPath(""))


class Scanner:
    """Compares directories with the tree. For one thread.

    With `accept_unstable` files are taken that may still be being written, for somebody wants to read them now.
    """

    def __init__(self, disk: Disk, state: Index, ignore: Ignore) -> None:
        self._disk = disk
        self._index = state
        self._ignore = ignore
        self.power_loss: PowerLoss | None = None  # what is damaged is unwritten, and not changed
        self.is_stopped = False  # from any thread: comparisons end at once, with Stopped

    def compare(
        self,
        tx: Tx,
        directories: Iterable[ContentPath],
        *,
        deep: bool = False,
        accept_unstable: bool = False,
        trust: Trust = Trust.STAMPS,
    ) -> Differences:
        """Compare the members of each of `directories`, with `deep` also of all below them."""
        comparison = _Scan(
            self,
            self._disk,
            self._index,
            self._ignore,
            tx,
            deep=deep,
            accept_unstable=accept_unstable,
            trust=trust,
        )
        with self._disk.read_only_walk():
            return comparison.of(directories)

    def is_left_out(self, found: FileStat) -> bool:
        """Whether the log does not have it. Links, pipes and devices are left where they are."""
        if found.what not in (FileType.FILE, FileType.DIRECTORY):
            return True
        is_directory = found.what is FileType.DIRECTORY
        return self._ignore.why(found.path, is_directory=is_directory, size=found.stamp.size) is not None


class _Scan:
    def __init__(
        self,
        comparer: Scanner,
        disk: Disk,
        state: Index,
        ignore: Ignore,
        tx: Tx,
        *,
        deep: bool,
        accept_unstable: bool,
        trust: Trust,
    ) -> None:
        self._scanner = comparer
        self._disk = disk
        self._index = state
        self._ignore = ignore
        self._tx = tx
        self._deep = deep
        self._hurry = accept_unstable
        self._trust = trust
        self._keeps_modes = disk.keeps_modes
        self._differences = Differences()
        self._waiting: list[_Place] = []
        self._seen: set[EntryId] = set()
        self._renamed: set[ContentPath] = set()  # directories, as they are called now
        self._nearest = {TOP.path: TOP}  # by path: itself, or what is above it

    def of(self, directories: Iterable[ContentPath]) -> Differences:
        for path in directories:
            self._begin(path)
        while self._waiting:
            if self._scanner.is_stopped:
                raise Stopped
            self._members(self._waiting.pop())
        if self._renamed:
            self._differences.rules_changed |= self._ignore.refresh_below(self._renamed)
        return self._differences

    def _begin(self, path: ContentPath) -> None:
        """Wait for the directory at `path`, or, when it is not one on both sides, for the nearest above it that is."""
        below: list[ContentPath] = []  # each is looked at once, and from the top down: paths may be very deep
        while path not in self._nearest:
            below.append(path)
            path = path.parent
        place = self._nearest[path]
        for path in reversed(below):
            if place.path == path.parent:
                place = self._both_directories(place, path) or place
            self._nearest[path] = place
        self._wait_for(place)

    def _both_directories(self, above: _Place, path: ContentPath) -> _Place | None:
        entry = tree.member(self._tx, above.entry, path.name)
        if entry is None or tree.kind_of(self._tx, entry) is not Kind.DIRECTORY:
            return None
        try:
            found = self._disk.look(path)
        except Unreadable:
            return None
        return _Place(entry, path) if found is not None and found.what is FileType.DIRECTORY else None

    def _wait_for(self, directory: _Place) -> None:
        if directory.entry not in self._seen:
            self._seen.add(directory.entry)
            self._waiting.append(directory)

    def _members(self, directory: _Place) -> None:
        scan = self._scan(directory.path)
        if scan is None:
            return
        rules_changed = self._ignore.refresh(directory.path)
        self._differences.rules_changed |= rules_changed
        deep = self._deep or rules_changed
        members = {member.name: member for member in self._index.members(self._tx, directory.entry)}
        for found in scan.found:
            member = members.pop(found.path.name, None)
            if self._scanner.is_left_out(found):
                if member is not None and not found.path.hidden:  # what the log has of hidden names, it keeps
                    self._gone(directory, member)
            elif member is None:
                self._appeared(found)
            elif (member.kind is Kind.DIRECTORY) != (found.what is FileType.DIRECTORY):
                self._gone(directory, member)
                self._appeared(found)
            else:
                self._both(directory, member, found, deep=deep)
        unclear = {skipped.path for skipped in scan.skipped}
        for member in members.values():
            if directory.path.child(member.name) in unclear:
                continue
            if member.known is None:
                self._differences.unwritten.append(member.entry)
            else:
                self._gone(directory, member)

    def _scan(self, path: ContentPath) -> Scan | None:
        try:
            scan = self._disk.scan(path)
        except NotFound:  # gone meanwhile
            return None
        except Unreadable as error:
            self._differences.unreadable[path] = error.why
            return None
        self._differences.unreadable.update((skipped.path, skipped.reason) for skipped in scan.skipped)
        return scan

    def _both(self, directory: _Place, member: Member, found: FileStat, *, deep: bool) -> None:
        """It stands in the tree and on the disk."""
        known = member.known
        if found.what is FileType.DIRECTORY:
            if known is None or known.stamp.inode != found.stamp.inode:
                self._index.note(member.entry, IndexEntry(found.stamp, None))
            if deep:
                self._wait_for(_Place(member.entry, found.path))
        elif (
            known is None
            and self._trust is Trust.DATES
            and (member.size, member.modified) == (found.stamp.size, found.modified)
            and self._has_mode(member, found)
        ):
            self._index.note(member.entry, IndexEntry(found.stamp, member.digest))
        elif (
            known is None
            or known.stamp != found.stamp
            or self._trust is Trust.NOTHING
            or not self._has_mode(member, found)
        ):
            power_loss = self._scanner.power_loss
            if power_loss is not None and power_loss.is_damage(self._tx, member.entry, found):
                self._differences.unwritten.append(member.entry)
            elif self._is_quiet(found) and self._is_quiet_since(found.stamp.ctime_ns):
                self._differences.changed.append(ChangedFile(member.entry, member.digest, found))
            else:
                self._differences.busy.add(directory.path)
        elif known.digest != member.digest:
            self._differences.unwritten.append(member.entry)

    def _has_mode(self, member: Member, found: FileStat) -> bool:
        return member.executable == found.executable or not self._keeps_modes

    def _gone(self, directory: _Place, member: Member) -> None:
        path = directory.path.child(member.name)
        self._differences.gone.append(GoneEntry(member.entry, path, member.kind, member.digest))

    def _appeared(self, top: FileStat) -> None:
        waiting = [top]
        while waiting:
            found = waiting.pop()
            if found.what is FileType.FILE and not self._is_quiet(found):
                self._differences.busy.add(found.path.parent)
                continue
            was = self._same(found)
            self._differences.appeared.append(NewPath(found, was))
            if found.what is FileType.DIRECTORY and was is None:
                scan = self._scan(found.path)
                # what is known of an ignore file there is of another directory, or of none
                self._differences.rules_changed |= self._ignore.refresh(found.path)
                waiting += [
                    below
                    for below in reversed(scan.found if scan else ())
                    if not self._scanner.is_left_out(below)
                ]
            elif was is not None and found.what is FileType.DIRECTORY:
                # what it holds is compared under its new path, next time
                self._differences.busy.add(found.path)
                self._renamed.add(found.path)

    def _same(self, found: FileStat) -> EntryId | None:
        """The entry that has become `found` by a rename: nothing stands in its place any more."""
        for entry, known in self._index.by_inode(self._tx, found.stamp.inode):
            is_directory = tree.kind_of(self._tx, entry) is Kind.DIRECTORY
            if is_directory != (found.what is FileType.DIRECTORY):
                continue
            path = tree.path_of(self._tx, entry)
            try:
                there = None if path is None else self._disk.look(path)
            except Unreadable:
                continue  # it stands where nobody may look
            if there is not None and there.what is found.what:
                continue  # a hard link, or something new under the old name, which keeps the entry
            if self._holds(entry, found) if is_directory else found.stamp.is_moved(known.stamp):
                return entry
        return None

    def _holds(self, directory: EntryId, found: FileStat) -> bool:
        """Whether a directory holds what `directory` held: an inode alone may have been given to a new one."""
        try:
            scan = self._disk.scan(found.path)
        except (NotFound, Unreadable):
            return False
        there = {below.path.name: below.stamp.inode for below in scan.found}
        members = list(self._index.members(self._tx, directory))
        same = sum(
            member.known is not None and there.get(member.name) == member.known.stamp.inode
            for member in members
        )
        return 2 * same >= len(members)

    def _is_quiet(self, found: FileStat) -> bool:
        return found.what is FileType.DIRECTORY or self._is_quiet_since(found.stamp.mtime_ns)

    def _is_quiet_since(self, moment: int) -> bool:
        age = time.time_ns() - moment  # below zero: a date to come, which says nothing
        return self._hurry or not -NS <= age < QUIET * NS
