"""Taking away from the folder what the log has deleted: all but what is in no version."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from io import BufferedReader
from typing import Literal

from evstore.core.errors import EvstoreError
from evstore.core.events import Digest, Recorded
from evstore.core.paths import ContentPath
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.worktree.disk.disk import Disk, FileStat, FileType
from evstore.worktree.index import Index, IndexEntry
from evstore.worktree.trash.trash_dir import timed

logger = logging.getLogger(__name__)

DELETED = re.compile(r"(?P<at>\d+)@(?P<deletion>\d+)(\.(?P<command>[0-9a-f]+))?-")
EMPTY = hashlib.sha256(b"").digest()
MARK = 4  # bytes of a command's id, at its end, where it is random


class Remover:
    """For one thread. `is_left_out` tells what the log does not have, wherever it lies."""

    def __init__(self, disk: Disk, state: Index, is_left_out: Callable[[FileStat], bool]) -> None:
        self._disk = disk
        self._index = state
        self._is_left_out = is_left_out

    def remove(self, tx: Tx, file: FileStat, known: IndexEntry | None) -> None:
        """Remove a file that has just been deleted; what is in no version stays in the trash. `known`: what was last seen there.

        It is decided in the trash, where nobody writes it anew. Raises NotFound, Unreadable, and as `Disk.discard`.
        """
        name, is_known = trash_name(file.path), known is not None and known.stamp == file.stamp
        try:
            self._disk.discard(file.path, name)
        except EvstoreError:  # there is no room for a trash, or no right to it
            if self._disk.look(file.path) is None or not self.is_in_log(tx, file):
                raise
            self._disk.remove_file(file.path, file.stamp)
            return
        try:
            stamp = self._disk.trashed.look(name)
            if stamp is not None and (
                (is_known and stamp.is_moved(file.stamp)) or has_body(tx, self._digest(name))
            ):
                self._disk.trashed.remove_file(name, stamp)
        except EvstoreError as error:
            logger.info("A file that was deleted stays in .evstore/trash: %s", error.message)

    def _digest(self, name: str) -> Digest | None:
        with self._disk.trashed.open(name) as file:
            return digest_of(file)

    def put_away(self, tx: Tx, top: FileStat, deletion: int) -> None:
        """Move a file or a directory to the trash that the event at the offset `deletion` has deleted; what is in no version stays where it is, with the directories above it.

        Raises NotFound, Unreadable, and as `Disk.discard`.
        """
        unknown = self._unknown(tx, top)
        kept = {above for path in unknown for above in (ContentPath(), *path.lineage[:-1])}
        waiting = [top]
        while waiting:
            found = waiting.pop()
            if found.path in kept:
                waiting += self._below(found)
            elif found.path not in unknown:
                event = log.one(tx, deletion) if found is top and deletion else None
                self._disk.discard(found.path, trash_name(found.path, event or 0))

    def _unknown(self, tx: Tx, top: FileStat) -> set[ContentPath]:
        """The files at or below a place with bytes that are not in the log, and should be."""
        unknown: set[ContentPath] = set()
        waiting = [top]
        while waiting:
            found = waiting.pop()
            if found.what is FileType.DIRECTORY:
                waiting += self._below(found)
            elif found.what is FileType.FILE and not self.is_in_log(tx, found):
                unknown.add(found.path)
        return unknown

    def _below(self, found: FileStat) -> list[FileStat]:
        return [one for one in self._disk.scan(found.path).found if not self._is_left_out(one)]

    def is_in_log(self, tx: Tx, found: FileStat) -> bool:
        """Whether the bytes of a file are in some version. Raises NotFound, Unreadable."""
        known = (known for _, known in self._index.by_inode(tx, found.stamp.inode))
        return any(one.stamp == found.stamp for one in known) or has_body(
            tx, read_digest(self._disk, found.path)[0]
        )


def read_digest(disk: Disk, path: ContentPath) -> tuple[Digest | None, FileStat]:
    """The SHA-256 of a file; None of an empty one. Raises NotFound, Unreadable."""
    file, found = disk.open(path)
    with file:
        return digest_of(file), found


def digest_of(file: BufferedReader) -> Digest | None:
    """The SHA-256 of what is still to be read of a file; None of nothing. Raises what reading it does."""
    digest = hashlib.file_digest(file, "sha256").digest()
    return None if digest == EMPTY else Digest(digest)


def has_body(tx: Tx, digest: Digest | None) -> bool:
    """Whether the log has these bytes, of whatever file; it needs no copy of nothing."""
    return digest is None or tx.row("select 1 from bodies where digest = ?", (digest,)) is not None


def is_known(tx: Tx, file: BufferedReader) -> bool:
    """Whether the log has what is in a file. Raises OSError."""
    return has_body(tx, digest_of(file))


def trash_name(path: ContentPath, deletion: Recorded | Literal[0] | None = None) -> str:
    """A name in the trash, no longer than a name may be, that tells when it was put there, as ns since 1970.

    `deletion`: the event that has deleted it, if it was in the log; 0 for a part of that.
    """
    match deletion:
        case None:
            by = ""
        case 0:
            by = "@0"
        case _:
            by = f"@{deletion.offset}.{_mark(deletion)}"
    return timed(path.name, by)


def deletion_of(name: str) -> int | None:
    """What a name made by `trash_name` tells of the deletion."""
    found = DELETED.match(name)
    return int(found["deletion"]) if found else None


def is_put_by(name: str, deletion: Recorded) -> bool:
    """Whether a name made by `trash_name` is that of what this event has deleted.

    Another log of this folder, or this one before a backup of it was restored, may have had another deletion at the
    same offset. No clock tells them apart: it may be set back, and the log's times go on from the last one.
    """
    found = DELETED.match(name)
    if found is None or int(found["deletion"]) != deletion.offset:
        return False
    if found["command"] is None:  # of an older evstore
        return int(found["at"]) >= deletion.at * 1000
    return found["command"] == _mark(deletion)


def _mark(deletion: Recorded) -> str:
    return deletion.command[-MARK:].hex()
