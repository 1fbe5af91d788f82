"""What is out of step between the log and the folder, found out without changing either."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from evstore.core.entry import Entry
from evstore.core.errors import EvstoreError
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree
from evstore.worktree.disk.disk import Disk, FileStat, FileType
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.ignoring.own import own_files
from evstore.worktree.index import Index
from evstore.worktree.scanner import ChangedFile, Scanner

ROOT_PATH = ContentPath("")


@dataclass(slots=True)
class Status:
    """What differs, by path. What a running server has not come to yet is here as well, for a moment."""

    files: int = 0  # in the log
    directories: int = 0
    new: list[ContentPath] = field(default_factory=list[ContentPath])  # on the disk only
    # other bytes, another date or another mode on the disk
    changed: list[ContentPath] = field(default_factory=list[ContentPath])
    gone: list[ContentPath] = field(default_factory=list[ContentPath])  # from the disk
    unwritten: list[ContentPath] = field(default_factory=list[ContentPath])  # in the log only
    unreadable: dict[str, str] = field(default_factory=dict[str, str])  # with the reason
    unversioned: dict[str, int] = field(default_factory=dict[str, int])  # files and folders, by the reason
    trash_files: int = 0  # in .evstore/trash: what was deleted, and may be in no version
    trash_bytes: int = 0
    ignore_files: list[str] = field(default_factory=list[str])  # sentences about what is wrong in them

    @property
    def in_step(self) -> bool:
        return not (self.new or self.changed or self.gone or self.unwritten)


def compare(tx: Tx, folder: Path, db: Path, *, max_size: int) -> Status:
    """Compare the whole folder with the log `db` as it is now. Raises FolderFailed when it can't be entered."""
    disk = Disk(folder)
    ignore = Ignore(disk, max_size=max_size, own=own_files(disk.root, db))
    found = Scanner(disk, Index(), ignore).compare(tx, [ROOT_PATH], deep=True, accept_unstable=True)
    counted = tree.count(tx)
    status = Status(counted["files"], counted["directories"], unreadable=found.unreadable)
    status.new = [one.found.path for one in found.appeared]
    status.changed = [one.found.path for one in found.changed if not _is_written(tx, disk, one)]
    status.gone = [one.path for one in found.gone]
    missing = (tree.by_id(tx, entry) for entry in found.unwritten)
    status.unwritten = [entry.path for entry in missing if entry is not None and not _lies_there(disk, entry)]
    with disk.read_only_walk():
        status.unversioned = dict(_unversioned(disk, ignore))
    status.trash_files, status.trash_bytes = disk.trashed.held()
    status.ignore_files = ignore.problems()
    return status


def _is_written(tx: Tx, disk: Disk, one: ChangedFile) -> bool:
    """Whether it is what a running server has just written there, and has not noted yet."""
    entry = tree.by_id(tx, one.entry)
    has_mode = not disk.keeps_modes or executables.is_executable(tx, one.entry) == one.found.executable
    return entry is not None and _is_same(entry, one.found) and has_mode


def _lies_there(disk: Disk, entry: Entry) -> bool:
    found = disk.look(entry.path)
    if found is None or found.what is FileType.DIRECTORY:
        return found is not None and entry.is_directory
    return _is_same(entry, found)


def _is_same(entry: Entry, found: FileStat) -> bool:
    return (entry.size, entry.modified) == (found.stamp.size, found.modified)


def _unversioned(disk: Disk, ignore: Ignore) -> Counter[str]:
    """How many files and folders have no versions, by the reason; what is in such a folder is not counted."""
    reasons: Counter[str] = Counter()
    waiting = [ROOT_PATH]
    while waiting:
        try:
            scan = disk.scan(waiting.pop())
        except EvstoreError:  # told as unreadable already
            continue
        for found in scan.found:
            if found.what in (FileType.LINK, FileType.OTHER):
                reasons["link" if found.what is FileType.LINK else "special file"] += not found.path.hidden
                continue
            is_directory = found.what is FileType.DIRECTORY
            reason = ignore.why(found.path, is_directory=is_directory, size=found.stamp.size)
            if reason is not None:
                reasons[reason.kind.value] += 1
            elif is_directory:
                waiting.append(found.path)
    return +reasons
