"""Replies to GET that are ready to be sent again, for as long as nothing happened that could change them.

A browser asks for the same listing every ten seconds and for a file's hash before and after
every save. The cache hears of every event before its writer is answered, so a client that
has seen a write never gets an older reply.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from evstore.core.events import (
    BodyErased,
    CheckpointCreated,
    CheckpointDeleted,
    CommitImported,
    EntryCreated,
    EntryDeleted,
    EntryMoved,
    EntryUndeleted,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    NotebookTrusted,
    Recorded,
    TagImported,
)
from evstore.core.units import MIB

LIMIT = 128 * MIB  # bytes in all
LARGEST = LIMIT // 4  # bytes of one reply: a larger one would push out all that is asked for often
LISTING = b"listing"


@dataclass(frozen=True, slots=True)
class Reply:
    """A body that is ready to be sent, and its headers."""

    body: bytes
    headers: dict[str, str]
    mark: Hashable = None  # it is only true as long as this is a directory's `Contents.mark`

    @property
    def size(self) -> int:
        return len(self.body) + 500  # what the objects around it take, roughly


class ReplyCache:
    """Bounded in bytes; the least recently used goes first. A reply is found by its tags to be dropped:
    the entry and the digest that it shows, or LISTING."""

    def __init__(self) -> None:
        self._replies: OrderedDict[Hashable, tuple[Reply, tuple[bytes, ...]]] = OrderedDict()
        self._tagged: dict[bytes, set[Hashable]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of the replies that are held."""
        return self._size

    def get(self, key: Hashable) -> Reply | None:
        found = self._replies.get(key)
        if found is None:
            return None
        self._replies.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, reply: Reply, tags: tuple[bytes, ...]) -> None:
        """Keep `reply`; the caller has made sure that it shows the latest event."""
        self._drop(key)
        if reply.size > LARGEST:
            return
        self._replies[key] = (reply, tags)
        self._size += reply.size
        for tag in tags:
            self._tagged.setdefault(tag, set()).add(key)
        while self._size > LIMIT:
            self._drop(next(iter(self._replies)))

    def _drop(self, key: Hashable) -> None:
        found = self._replies.pop(key, None)
        if found is None:
            return
        reply, tags = found
        self._size -= reply.size
        for tag in tags:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]

    def _forget(self, *tags: bytes) -> None:
        for tag in tags:
            for key in list(self._tagged.get(tag, ())):
                self._drop(key)

    def heard(self, recorded: Sequence[Recorded]) -> None:
        """Forget what these events may have changed: one file, or when a name changed, everything."""
        for one in recorded:
            match one.event:
                case FileSaved(digest=digest) | FileRestored(digest=digest):
                    self._forget(LISTING, one.entry, digest)  # the digest may be trusted now
                case NotebookTrusted(digest=digest) | BodyErased(digest=digest):
                    self._forget(digest)
                case CheckpointCreated() | CheckpointDeleted():
                    pass
                case ExecutableChanged() | CommitImported() | TagImported():  # no reply shows them
                    pass
                case EntryCreated() | EntryMoved() | EntryDeleted() | EntryUndeleted():
                    self._replies.clear()
                    self._tagged.clear()
                    self._size = 0
