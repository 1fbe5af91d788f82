"""An entry as Jupyter's JSON "model", and everything else that goes over the wire; nowhere else are its keys spelled.

Source: jupyter_server's contents API, documented in its `docs/source/developers/contents.rst`.
"""

from __future__ import annotations

import base64
import mimetypes
from typing import Any

import orjson

from evstore.core import codec
from evstore.core.entry import Entry
from evstore.core.errors import Invalid
from evstore.core.events import (
    CheckpointCreated,
    CheckpointDeleted,
    FileRestored,
    FileSaved,
    TagImported,
    format_id,
    format_time,
)
from evstore.projections.checkpoints import Checkpoint
from evstore.services.history import Deleted, HistoryItem, Restored

Model = dict[str, Any]


def contents(
    entry: Entry,
    kind: str,
    *,
    content: Any = None,
    format: str | None = None,
    mimetype: str | None = None,
    with_hash: bool = False,
    message: str | None = None,
    as_of: int | None = None,
) -> Model:
    """The model of an entry of Jupyter's type `kind`; all keys are always there.

    `as_of`: the offset of a past moment; what is read there can't be written.
    """
    model: Model = {
        "name": entry.name,
        "path": entry.path,
        "type": kind,
        "writable": as_of is None and entry.writable,
        "created": format_time(entry.created),
        "last_modified": format_time(entry.modified),
        "mimetype": mimetype,
        "content": content,
        "format": format,
        "size": None if entry.is_directory else entry.size,
        "hash": entry.digest.hex() if with_hash and entry.digest is not None else None,
        "hash_algorithm": "sha256" if with_hash and entry.digest is not None else None,
    }
    if not entry.versioned:
        model["versioned"] = False
    if message is not None:
        model["message"] = message
    if as_of is not None:
        model["offset"] = as_of
    return model


def type_of(entry: Entry, asked: str | None) -> str:
    """Jupyter's type of an entry, given the type that the client asked for (None: any).

    Raises Invalid when it can't be that type.
    """
    if entry.is_directory:
        if asked not in (None, "directory"):
            raise BadType(f"{entry.path or '/'} is a directory, not a {asked}")
        return "directory"
    if asked == "directory":
        raise BadType(f"{entry.path} is not a directory")
    if asked is None:
        return "notebook" if entry.name.endswith(".ipynb") else "file"
    return asked


class BadType(Invalid):
    """The entry is not of the type that was asked for."""

    reason = "bad type"


class BadFormat(Invalid):
    """The file can't be given in the format that was asked for."""

    reason = "bad format"


def guess_mimetype(entry: Entry, kind: str) -> str | None:
    return mimetypes.guess_type(entry.name)[0] if kind == "file" else None


def without_content(entry: Entry, kind: str, *, with_hash: bool = False, as_of: int | None = None) -> Model:
    """The model as it stands in listings and in the answers to writes."""
    return contents(entry, kind, mimetype=guess_mimetype(entry, kind), with_hash=with_hash, as_of=as_of)


def file_content(path: str, body: bytes, asked: str | None) -> tuple[bytes, str]:
    """A file's bytes as a JSON string, and its format: `text` when it is UTF-8, else `base64`.

    Raises BadFormat when `text` was asked for and it is not UTF-8.
    """
    if asked != "base64":
        try:
            return orjson.dumps(body.decode("utf-8")), "text"
        except UnicodeDecodeError:
            if asked == "text":
                raise BadFormat(f"{path} is not UTF-8 encoded") from None
    return b'"' + base64.encodebytes(body).replace(b"\n", b"\\n") + b'"', "base64"


def checkpoint(found: Checkpoint) -> Model:
    return {"id": str(found.offset), "last_modified": format_time(found.at)}


# -- history -----------------------------------------------------------------------------


def version(told: HistoryItem) -> Model:
    """One line of an entry's history."""
    recorded, event = told.recorded, told.recorded.event
    saved = event if isinstance(event, FileSaved | FileRestored) else None
    label = event.label if isinstance(event, CheckpointCreated) else None
    return {
        "offset": recorded.offset,
        "at": format_time(recorded.at),
        "actor": recorded.actor,
        "event": type(event).__name__,
        "path": told.path,
        "kind": told.kind,
        "digest": saved.digest.hex() if saved else None,
        "size": saved.size if saved else None,
        "label": event.name if isinstance(event, TagImported) else label,
        "checkpoint": event.checkpoint if isinstance(event, CheckpointDeleted) else None,
        "source": event.source if isinstance(event, FileRestored | TagImported) else None,
    }


def logged(told: HistoryItem) -> Model:
    """One event of the log."""
    recorded = told.recorded
    return {
        "offset": recorded.offset,
        "at": format_time(recorded.at),
        "actor": recorded.actor,
        "command": format_id(recorded.command),
        "entry": format_id(recorded.entry),
        "path": told.path,
        "event": type(recorded.event).__name__,
        "data": codec.describe(recorded.event),
    }


def deleted(one: Deleted) -> Model:
    """Something that could be undeleted."""
    return {
        "entry": format_id(one.entry),
        "path": one.path,
        "kind": one.kind,
        "at": format_time(one.at),
        "actor": one.actor,
        "offset": one.offset,
    }


def restored(done: Restored) -> Model:
    """What a restore did, or would do."""
    changes = [
        {"action": change.action, "path": change.path}
        | ({"from_path": change.from_path} if change.from_path else {})
        for change in done.changes
    ]
    return {"offset": done.offset, "changes": changes}
