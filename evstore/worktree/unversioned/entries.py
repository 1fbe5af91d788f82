"""An entry that is on the disk alone."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from evstore.core.entry import Entry
from evstore.core.events import Digest, EntryId, Kind
from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Found, Stamp, What

NOBODY = EntryId(b"")  # what is not in the log has no id
SETTLED = 2.0  # seconds after which another change to a file is sure to get another date


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk(Entry):
    """Something that is on the disk and not in the log. It has no id; its digest is known when it has been read."""

    place: ContentPath  # where it really is: that of a link is what it leads to
    stamp: Stamp
    linked: bool  # a symbolic link is at its path, or on the way to it
    executable: bool

    @property
    def versioned(self) -> bool:
        return False

    @property
    def writable(self) -> bool:
        return not self.linked

    @property
    def tag(self) -> str:
        return "" if self.is_directory else tag_of(self.stamp).hex()

    @property
    def settled(self) -> bool:
        # its dates are old enough for a later change to show in them
        return time.time_ns() - max(self.stamp.mtime_ns, self.stamp.ctime_ns) > SETTLED * 1_000_000_000


def tag_of(stamp: Stamp) -> Digest:
    """A stamp in the form of a digest, so that a save can be made conditional on it."""
    return Digest(hashlib.sha256(repr(stamp).encode()).digest())


def on_disk(path: ContentPath, found: Found, *, linked: bool) -> OnDisk:
    """What was found somewhere, as an entry at `path`."""
    is_file = found.what is What.FILE
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
