"""What a client sends to be saved: a model in JSON -> a wish to save. Runs on a worker thread."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from reprlib import repr as shown
from typing import Any, TypeVar, cast

from aiohttp import web

from evstore.core import notebooks
from evstore.core.errors import Invalid, TooLarge
from evstore.core.events import Digest
from evstore.core.notebooks import CellCache
from evstore.http.reply import parse_time
from evstore.log import bodies
from evstore.log.bodies import Body, KnownChunks
from evstore.services.contents import SaveRequest
from evstore.worktree.disk.file_stat import clamped

T = TypeVar("T")
TRUSTED = ".trusted"  # ends the ETag of a notebook that is read as trusted; its bytes are the same
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SMALL = 16 * 1024  # bytes: below this the hop to a thread costs more than the work


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Run `work`, which handles about `size` bytes, where it does not hold up other requests."""
    return work() if size < SMALL else await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A model whose content is ready to be stored."""

    wish: SaveRequest
    message: str | None  # why the notebook is not valid; it is saved all the same


@dataclass(frozen=True, slots=True)
class Preconditions:
    """If-Match and If-None-Match (RFC 9110, 13.1) of a save."""

    expected: frozenset[Digest] | None
    present: bool
    absent: bool

    @classmethod
    def of(cls, request: web.Request) -> Preconditions:
        wanted = request.headers.get("If-Match")
        absent = request.headers.get("If-None-Match", "").strip() == "*"
        if wanted is None:
            return cls(None, False, absent)
        if wanted.strip() == "*":
            return cls(None, True, absent)
        tags = [tag.strip().removeprefix("W/").strip('"') for tag in wanted.split(",")]
        return cls(frozenset(Digest(_unhex(tag)) for tag in tags), False, absent)

    def wish(self, body: Body, *, trusted: bool = False) -> SaveRequest:
        """A wish to save `body` under these conditions."""
        return SaveRequest(
            body=body, trusted=trusted, expected=self.expected, present=self.present, absent=self.absent
        )


@dataclass(frozen=True, slots=True)
class FileAttributes:
    """What a file brings along besides its bytes, where a model has `evstore`; None: nothing said."""

    modified: int | None = None  # µs since 1970
    executable: bool | None = None

    def applied(self, wish: SaveRequest) -> SaveRequest:
        return replace(wish, modified=self.modified, executable=self.executable)


def file_attributes(model: Mapping[str, Any]) -> FileAttributes:
    """The model's `evstore`: `{"modified": RFC 3339 with its zone, "executable": bool}`, both optional. Raises Invalid."""
    said = model.get("evstore")
    if said is None:
        return FileAttributes()
    if not isinstance(said, dict):
        raise Invalid("evstore must be a JSON object.")
    fields = cast("dict[str, Any]", said)
    modified, executable = fields.get("modified"), fields.get("executable")
    if not isinstance(executable, bool | None):
        raise Invalid("evstore.executable must be true or false.")
    return FileAttributes(None if modified is None else _microseconds(modified), executable)


def _microseconds(text: Any) -> int:
    when = parse_time(text) if isinstance(text, str) else None
    if when is None or when < EPOCH:
        raise Invalid("evstore.modified must be a time such as 2026-11-22T10:00:00Z, after 1970.")
    return clamped((when - EPOCH) // timedelta(microseconds=1))


async def read_body(request: web.Request, limit: int) -> bytearray:
    """The whole body. Raises TooLarge (413) after `limit` bytes.

    `request.read()` copies it once more at its end, for which all other requests wait.
    """
    body = bytearray()
    async for block in request.content.iter_any():
        body += block
        if len(body) > limit:
            raise TooLarge(f"The request's body is larger than {limit} bytes.")
    return body


def _unhex(tag: str) -> bytes:
    try:
        return bytes.fromhex(tag.partition(".")[0])  # what follows says how it was read
    except ValueError:
        return b""  # not one of our tags, so it matches nothing


def parse_model(raw: bytes | bytearray) -> dict[str, Any]:
    """A request's body as a model; `{}` when it is empty. Raises Invalid (400)."""
    if not raw or raw.isspace():
        return {}
    try:
        model = notebooks.parse(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The request's body is not JSON: {error}.") from None
    if not isinstance(model, dict):
        raise Invalid("The request's body must be a JSON object.")
    return cast("dict[str, Any]", model)


def to_save(
    model: dict[str, Any],
    *,
    cells: CellCache,
    known: KnownChunks,
    preconditions: Preconditions,
    notebook_name: bool,
) -> Incoming:
    """Turn a model's content into a body. Raises Invalid when it is not what it claims to be."""
    kind, content = model.get("type"), model["content"]
    trusted, message = False, None
    if kind == "notebook":
        canonical = notebooks.canonical(content, cells)
        body = bodies.prepare_pieces(canonical.body, canonical.chunks, known)
        trusted, message = canonical.trusted, canonical.message
    elif kind == "file":
        body = bodies.prepare(file_bytes(content, model.get("format")), known, notebook=notebook_name)
    else:
        raise Invalid(f"Unhandled contents type: {shown(kind)}")
    return Incoming(file_attributes(model).applied(preconditions.wish(body, trusted=trusted)), message)


def file_bytes(content: Any, format: Any) -> bytes:
    """The bytes that a file model's content stands for. Raises Invalid."""
    if format not in ("text", "base64"):
        raise Invalid("Must specify format of file contents as 'text' or 'base64'")
    if not isinstance(content, str):
        raise Invalid("The content of a file must be a string.")
    try:
        if format == "text":
            return content.encode("utf-8")
        return base64.b64decode("".join(content.split()), validate=True)
    except UnicodeEncodeError:
        raise Invalid("The content is not valid Unicode text; send it as base64.") from None
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"The content is not base64: {error}.") from None
