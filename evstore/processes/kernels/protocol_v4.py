"""Kernel messages as clients of IPython 0.12 to 2 send and read them: protocol 4, one websocket a channel. Pure.

Such a message is a JSON text without `channel` and buffers. Its header has no version; types and contents that
protocol 5 changed are put into the other form by jupyter_client's adapters, where these can.
The protocols: https://jupyter-client.readthedocs.io/en/latest/messaging.html , and the same page of IPython 2.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import orjson
from jupyter_client.adapter import V4toV5, V5toV4

from evstore.processes.kernels.wire import PARTS, BadFrame, Message, from_v1, object_in

CHANNELS = ("iopub", "shell", "stdin")
MODERN = 5  # the protocol's version today
CHANGED = frozenset(  # types whose content protocol 5 changed
    ("kernel_info_reply", "execute_reply", "complete_reply", "inspect_reply", "stream", "display_data")
) | {"input_request"}
ODD = (LookupError, TypeError, ValueError, AttributeError)
_SESSION = re.compile(r"[\w-]{1,100}", re.ASCII)
_FIRST = re.compile(r"([\w-]{1,100}):(?!//)", re.ASCII)  # `session:cookie`
_TO_5, _TO_4 = V4toV5(), V5toV4()

Fields = dict[str, Any]


def is_message(text: str) -> bool:
    """Whether a frame is a message; the first one was the page's cookie."""
    return text.lstrip()[:1] in ("{", "[")


def session_of(first: str) -> str | None:
    """The session that a client's first frame names: `session:cookie` since IPython 1, None when it is a cookie alone."""
    found = _FIRST.match(first)
    return found[1] if found else None


class Heard(NamedTuple):
    """What a client has sent: as today's kernels read it, the protocol's version that it was in, and its session."""

    message: Message
    version: int
    session: str


def from_old(text: str, channel: str, *, session: str, at: str) -> Heard:
    """A client's message on `channel`.

    `session` and `at` (a time, RFC 3339) fill the header where an old client says nothing. Raises BadFrame.
    """
    fields = _object(text)
    header = fields["header"]
    if not isinstance(header.get("msg_type"), str):
        raise BadFrame("The message's header has no msg_type.", code=None)
    version = _major(header.get("version"))
    header.update({"username": "username", "session": session, "date": at} | header)
    if version < MODERN:
        fields = _put_into_5(fields)
    # The standard library's json, for it keeps integers of any size and every float as it came
    parts = [json.dumps(fields[name], separators=(",", ":")).encode() for name in PARTS]
    said: object = header["session"]
    if isinstance(said, str) and _SESSION.fullmatch(said):
        session = said
    return Heard(Message(channel, parts), version, session)


def to_old(frame: bytes, *, version: int = 4) -> str:
    """A v1 frame as a client of that version of the protocol reads it. Buffers are left out."""
    header, parent, metadata, content = from_v1(frame).parts[:4]
    fields: Fields = {"header": orjson.loads(header), "parent_header": orjson.loads(parent)}
    kind = fields["header"].get("msg_type")
    if version < MODERN:
        loaded = _loaded(content) if kind in CHANGED else None
        fields = _put_into_4(fields | {"content": loaded or {}})
        if loaded is not None:
            content = _dumped(fields["content"])
    head = {name: fields["header"][name] for name in ("msg_id", "msg_type") if name in fields["header"]}
    text = b'{"header":%b,"parent_header":%b,"metadata":%b,"content":%b,%b' % (
        orjson.dumps(fields["header"]),
        orjson.dumps(fields["parent_header"]),
        metadata,
        content,
        orjson.dumps(head)[1:],
    )
    return text.decode(errors="replace")


def _object(text: str) -> Fields:
    """The four parts of a message, each an object."""
    given = object_in(text)
    fields: Fields = {name: {} if given.get(name) is None else given[name] for name in PARTS}
    for name, part in fields.items():
        if not isinstance(part, dict):
            raise BadFrame(f"The message's {name} is not an object.")
    return fields


def _major(version: object) -> int:
    """The first number of a protocol's version; what says none is of before it was said."""
    found = re.match(r"\d{1,3}", version) if isinstance(version, str) else None
    return int(found[0]) if found else 4


def _put_into_5(fields: Fields) -> Fields:
    fields["msg_type"] = fields["header"]["msg_type"]
    if fields["msg_type"] == "object_info_request":
        fields["content"].setdefault("detail_level", 0)
    if fields["msg_type"].startswith("_"):  # an adapter's methods are named like messages
        return fields
    try:
        return _TO_5(fields)
    except ODD as error:
        kind = ascii(fields["header"]["msg_type"])[:60]
        raise BadFrame(
            f"The content of a {kind} is not that of protocol 4: {error!r:.200}.", code=None
        ) from None


def _put_into_4(fields: Fields) -> Fields:
    """What of it has no old form is left as it is."""
    content: Any = fields["content"]
    fields["msg_type"] = kind = fields["header"].get("msg_type")
    try:
        described: Any = content.get("data")
        if kind == "complete_reply" and not content.get("matches"):  # jupyter_client looks at the first
            fields["header"].pop("version", None)
            fields["content"] = {"matches": [], "matched_text": "", "status": content.get("status", "ok")}
            return fields
        if str(kind).startswith("_"):
            return fields
        fields = _TO_4(fields)
        if kind == "inspect_reply" and described:  # jupyter_client gives up on it
            fields["content"] = {"found": True, "oname": "", "docstring": described.get("text/plain", "")}
        if kind == "execute_reply":
            _page_as_text(fields["content"])
    except ODD:
        pass
    return fields


def _page_as_text(content: Fields) -> None:
    """What is shown in the pager was plain text."""
    for payload in content.get("payload") or ():
        if payload.get("source") == "page" and "text" not in payload:
            payload["text"] = payload.get("data", {}).get("text/plain", "")


def _loaded(content: bytes) -> Any:
    """A message's content; None when it is no JSON that clients could read."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # orjson refuses NaN
        pass
    try:
        return json.loads(content)
    except ValueError:
        return None


def _dumped(content: Any) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:  # integers beyond 64 bits, half a surrogate pair
        return json.dumps(content).encode()
