"""An entry that is on the disk alone."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from evstore.core.entry import Entry
from evstore.core.events import Digest, EntryId, Kind
from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import FileStat, FileType, StatStamp

NOBODY = EntryId(b"")  # what is not in the log has no id
SETTLED = 2.0  # seconds after which another change to a file is sure to get another date


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk(Entry):
    """Something that is on the disk and not in the log. It has no id; its digest is known when it has been read."""

    place: ContentPath  # where it really is: that of a link is what it leads to
    stamp: StatStamp
    linked: bool  # a symbolic link is at its path, or on the way to it
    executable: bool

    @property
    def versioned(self) -> bool:
        return False

    @property
    def writable(self) -> bool:
        return not self.linked

    @property
    def etag(self) -> str:
        return "" if self.is_directory else etag_of(self.stamp).hex()

    @property
    def has_strong_etag(self) -> bool:
        # its dates are old enough for a later change to show in them
        return time.time_ns() - max(self.stamp.mtime_ns, self.stamp.ctime_ns) > SETTLED * 1_000_000_000


def etag_of(stamp: StatStamp) -> Digest:
    """A stamp in the form of a digest, so that a save can be made conditional on it."""
    return Digest(hashlib.sha256(repr(stamp).encode()).digest())


def on_disk(path: ContentPath, found: FileStat, *, linked: bool) -> OnDisk:
    """What was found somewhere, as an entry at `path`."""
    is_file = found.what is FileType.FILE
    return OnDisk(
        id=NOBODY,
        parent=NOBODY,
        name=path.name,
        path=path,
        kind=Kind.FILE if is_file else Kind.DIRECTORY,
        created=found.modified if found.created is None else found.created,
        modified=found.modified,
        size=found.stamp.size if is_file else None,
        place=found.path,
        stamp=found.stamp,
        linked=linked,
        executable=is_file and found.executable,
    )
