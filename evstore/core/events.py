"""The vocabulary: everything that can happen, in the past tense, and the envelope that the log puts around it.

Ids, time and author belong to the envelope (`Recorded`), never to the event. A new event class
makes pyright point at every projection that has not said what it does with it.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NewType

EntryId = NewType("EntryId", bytes)  # 16 bytes; written as a UUID at the edges
Digest = NewType("Digest", bytes)  # SHA-256 of a body, 32 bytes; written in hex at the edges
Offset = NewType("Offset", int)  # place in the whole log, from 1
CommandId = NewType("CommandId", bytes)  # 16 bytes, one per request

ROOT = EntryId(bytes(16))  # the served folder itself: it was always there and can't be deleted


class Kind(StrEnum):
    """What an entry is, from its birth on. (`notebook` is Jupyter's word for a file's name.)"""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCreated:
    """A file or directory came into being, still empty. `created` is the date it brought along, in µs."""

    parent: EntryId
    name: str
    kind: Kind
    copied_from: EntryId | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSaved:
    """New contents were stored. `digest` names the bytes; the event never carries them.

    `trusted`: the client vouched for every cell of this notebook. `modified`: the date that
    an imported file brought along, in µs since 1970.
    """

    digest: Digest
    size: int
    trusted: bool = False
    modified: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryMoved:
    """The entry got another name or another parent: rename and move are one thing."""

    parent: EntryId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDeleted:
    """The entry was taken out of the tree, and with it all that is below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryUndeleted:
    """A deleted entry, or one inside a deleted directory, came back to this place."""

    parent: EntryId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRestored:
    """The file got the bytes again that it had at the offset `source`."""

    digest: Digest
    size: int
    source: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCreated:
    """A user marked the file's present contents; the checkpoint's id is this event's offset."""

    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDeleted:
    """The mark made at the offset `checkpoint` is no longer listed."""

    checkpoint: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookTrusted:
    """A user vouched for the notebook with these bytes, so that its outputs may run scripts."""

    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyErased:
    """The bytes with this digest were destroyed on purpose."""

    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutableChanged:
    """The file became a program that can be started by its name, or is one no more (the x bits of its mode)."""

    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitImported:
    """A git commit was taken in: what its command did before this event, it did to the directory.

    `commit` is its id in hex. `author` and `committer` are as git writes them, `Name <email> seconds zone`;
    `encoding` is that of the message, when it is not UTF-8.
    """

    commit: str
    author: str
    committer: str
    message: str
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagImported:
    """A git tag was taken in: the directory as of the offset `source`, which is a commit's, has this name.

    One with a message of its own says who made it, as `Name <email> seconds zone`.
    """

    name: str
    source: Offset
    tagger: str | None = None
    message: str | None = None


Event = (
    EntryCreated
    | FileSaved
    | EntryMoved
    | EntryDeleted
    | EntryUndeleted
    | FileRestored
    | CheckpointCreated
    | CheckpointDeleted
    | NotebookTrusted
    | BodyErased
    | ExecutableChanged
    | CommitImported
    | TagImported
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event with what only the log can know: its place, its time and its author."""

    offset: Offset
    entry: EntryId
    at: int  # µs since 1970 UTC, strictly increasing
    actor: str
    command: CommandId
    event: Event


DISK = "disk"  # the author of what others than evstore do in the folder: kernels, editors, git


@dataclass(frozen=True, slots=True)
class Author:
    """On whose behalf one command runs. All its events carry this; the next command has another id."""

    actor: str
    command: CommandId

    @classmethod
    def new(cls, actor: str) -> Author:
        return cls(actor, CommandId(new_id()))


def new_id() -> bytes:
    """A UUID of version 7 (RFC 9562): ids made later sort later, which keeps index pages warm."""
    head = (time.time_ns() // 1_000_000).to_bytes(6, "big")
    tail = bytearray(os.urandom(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return head + bytes(tail)


def format_id(value: bytes) -> str:
    """An id as clients see it: a UUID."""
    return str(uuid.UUID(bytes=value))


def format_time(at: int) -> str:
    """µs since 1970 as RFC 3339 in UTC, e.g. `2026-11-22T10:00:00.000000Z`."""
    seconds, micros = divmod(at, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{micros:06}Z"
