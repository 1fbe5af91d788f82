"""The two framings of kernel messages on a websocket. Pure.

A message is a channel and the ZMQ parts after the signature: header, parent header, metadata
and content as JSON bytes, then raw buffers. Both framings are Jupyter's, described in
https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html :

- *v1* (`v1.kernel.websocket.jupyter.org`) carries the parts as they are, so that nothing is
  parsed on the way; little-endian u64 offsets in front.
- *default* (no subprotocol) is one JSON text, or, when there are buffers, a binary frame of
  big-endian u32 offsets, the JSON and the buffers.

Inside evstore every message is kept as its v1 frame; `to_default` translates for old clients.
What a client sends may be anything: each `decode` raises `BadFrame` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from struct import Struct, unpack_from
from typing import Any, cast

import orjson

from evstore.core.errors import Invalid
from evstore.processes.ws_close_codes import INVALID_DATA

V1 = "v1.kernel.websocket.jupyter.org"
CLIENT_CHANNELS = frozenset(("shell", "control", "stdin"))  # where clients may send
JSON_PARTS = 4
MAX_BUFFERS = 10_000
PARTS = ("header", "parent_header", "metadata", "content")


class BadFrame(Invalid):
    """The websocket frame is not a kernel message.

    `code` is the close code that tells the client so (RFC 6455, 7.4.1), or None when the frame
    is well formed and only its message can't be passed on: then it is ignored.
    """

    def __init__(self, message: str, *, code: int | None = INVALID_DATA) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """A message on one channel: at least the four JSON parts, then buffers."""

    channel: str
    parts: list[bytes]


# v1


@cache
def _offsets(count: int) -> Struct:
    return Struct(f"<{count}Q")


def to_v1(channel: str, parts: Sequence[bytes]) -> bytes:
    """The v1 frame: count, offsets of channel, parts and end, then all of them in a row."""
    name = channel.encode()
    count = len(parts) + 2
    at = 8 * (count + 1)
    offsets = [count, at]
    at += len(name)
    offsets.append(at)
    for part in parts:
        at += len(part)
        offsets.append(at)
    return b"".join((_offsets(count + 1).pack(*offsets), name, *parts))


def from_v1(frame: bytes) -> Message:
    """The message in a v1 frame."""
    size = len(frame)
    if size < 8:
        raise BadFrame(f"The frame has {size} bytes; the count of offsets alone takes 8.")
    count = int.from_bytes(frame[:8], "little")
    if not JSON_PARTS + 2 <= count <= JSON_PARTS + 2 + MAX_BUFFERS or 8 * (count + 1) > size:
        raise BadFrame(f"The frame has {size} bytes and claims {count} offsets.")
    ends = _offsets(count).unpack_from(frame, 8)
    if ends[0] < 8 * (count + 1) or ends[-1] > size or any(a > b for a, b in pairwise(ends)):
        raise BadFrame(f"The offsets {list(ends[:8])} don't fit a frame of {size} bytes.")
    try:
        channel = frame[ends[0] : ends[1]].decode()
    except UnicodeDecodeError:
        raise BadFrame("The channel's name is not text.") from None
    return Message(channel, [frame[a:b] for a, b in pairwise(ends[1:])])


# default


def to_default(frame: bytes) -> str | bytes:
    """A v1 frame in the default framing: text, or binary when it carries buffers.

    The JSON parts go in as they came, not parsed and written again.
    """
    message = from_v1(frame)
    header, parent, metadata, content, *buffers = message.parts
    known = cast("dict[str, Any]", orjson.loads(header))
    text = b'{"header":%b,"parent_header":%b,"metadata":%b,"content":%b,' % (
        header,
        parent,
        metadata,
        content,
    )
    text += b'"channel":%b,"msg_id":%b,"msg_type":%b,"buffers":[]}' % (
        orjson.dumps(message.channel),
        orjson.dumps(known.get("msg_id")),
        orjson.dumps(known.get("msg_type")),
    )
    if not buffers:
        return text.decode(errors="replace")
    pieces = [text, *buffers]
    at = 4 * (len(pieces) + 1)
    offsets = [len(pieces)]
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    return b"".join((Struct(f">{len(offsets)}I").pack(*offsets), *pieces))


def from_default(frame: str | bytes) -> Message:
    """The message in a default frame; no channel means shell, as it did in old clients."""
    buffers: list[bytes] = []
    if isinstance(frame, bytes):
        frame, buffers = _split_binary(frame)
    fields = object_in(frame)
    channel: Any = "shell" if fields.get("channel") is None else fields["channel"]
    if not isinstance(channel, str):
        raise BadFrame(f"The channel {channel!r} is not a name.")
    return Message(channel, [*(_json_part(fields, name) for name in PARTS), *buffers])


def object_in(text: str | bytes) -> dict[str, Any]:
    """The object that a frame is in JSON. Raises BadFrame."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"The frame is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise BadFrame("The frame is JSON, but not an object.")
    return cast("dict[str, Any]", data)


def _split_binary(frame: bytes) -> tuple[bytes, list[bytes]]:
    size = len(frame)
    count = int.from_bytes(frame[:4], "big")
    if not 1 <= count <= MAX_BUFFERS or 4 * (count + 1) > size:
        raise BadFrame(f"The frame has {size} bytes and claims {count} pieces.")
    ends = (*unpack_from(f">{count}I", frame, 4), size)
    if ends[0] < 4 * (count + 1) or any(a > b for a, b in pairwise(ends)):
        raise BadFrame(f"The offsets {list(ends[:8])} don't fit a frame of {size} bytes.")
    text, *buffers = (frame[a:b] for a, b in pairwise(ends))
    return text, buffers


def _json_part(fields: dict[str, Any], name: str) -> bytes:
    value: Any = fields.get(name)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadFrame(f"The message's {name} is not an object.")
    # The standard library's json, for it keeps integers of any size and every float as it came
    return json.dumps(value, separators=(",", ":")).encode()


# both


def check(message: Message) -> None:
    """Raise BadFrame unless a kernel can be given this message from a client."""
    if message.channel not in CLIENT_CHANNELS:
        raise BadFrame(f"There is no channel {message.channel[:40]!r} to send on.", code=None)
    try:
        header = orjson.loads(message.parts[0])
    except orjson.JSONDecodeError as error:
        raise BadFrame(f"The message's header is not JSON: {error}.", code=None) from None
    fields = cast("dict[str, Any]", header) if isinstance(header, dict) else {}
    for name in ("msg_id", "msg_type"):
        if not isinstance(fields.get(name), str):
            raise BadFrame(f"The message's header has no {name}.", code=None)
