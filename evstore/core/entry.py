"""An entry: a file or directory with an id that outlives renames, as it was at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from evstore.core.events import Digest, EntryId, Kind
from evstore.core.paths import ContentPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Times in µs since 1970, `size` in bytes. A file that never got contents has no digest and is empty."""

    id: EntryId
    parent: EntryId
    name: str
    path: ContentPath
    kind: Kind
    created: int
    modified: int
    digest: Digest | None = None
    size: int | None = None
    since: int = 0  # the offset that gave it its contents

    @classmethod
    def new(cls, id: EntryId, parent: EntryId, path: ContentPath, kind: Kind, at: int) -> Entry:
        """What has just been made, at that time (µs since 1970): a file has no contents yet."""
        return cls(id=id, parent=parent, name=path.name, path=path, kind=kind, created=at, modified=at)

    @property
    def is_directory(self) -> bool:
        return self.kind is Kind.DIRECTORY

    @property
    def versioned(self) -> bool:
        """Whether the log has it. What the log has not lies on the disk alone."""
        return True

    @property
    def writable(self) -> bool:
        """Whether a save there can succeed."""
        return True

    @property
    def has_strong_etag(self) -> bool:
        """Whether other bytes are sure to have another tag."""
        return True

    @property
    def etag(self) -> str:
        """What changes whenever a file's bytes do."""
        return self.digest.hex() if self.digest else ""
