"""Kernel messages as they travel over ZMQ: signed parts, and the few that the server makes. Pure.

The wire protocol is https://jupyter-client.readthedocs.io/en/latest/messaging.html#the-wire-protocol :
routing ids, `<IDS|MSG>`, an HMAC-SHA256 over the next four parts, those four (header, parent
header, metadata, content), then raw buffers.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import orjson

from evstore.core.errors import Invalid
from evstore.processes.kernels.wire import JSON_PARTS, from_v1, to_v1

DELIMITER = b"<IDS|MSG>"
PROTOCOL = "5.4"
USERNAME = "evstore"


class BadMessage(Invalid):
    """What came from the kernel is not a message of it."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Wraps and unwraps the parts of messages with the kernel's key, which no client ever sees."""

    key: bytes

    def wrap(self, parts: Sequence[bytes]) -> list[bytes]:
        """What goes to the kernel for these parts."""
        return [DELIMITER, self._signature(parts), *parts]

    def unwrap(self, raw: list[bytes]) -> list[bytes]:
        """The parts in what the kernel sent. Raises BadMessage if it was not this kernel."""
        try:
            start = raw.index(DELIMITER) + 2
        except ValueError:
            raise BadMessage("A message without delimiter") from None
        parts = raw[start:]
        if len(parts) < JSON_PARTS:
            raise BadMessage(f"A message of {len(parts)} parts")
        if not hmac.compare_digest(raw[start - 1], self._signature(parts)):
            raise BadMessage("A message with a wrong signature")
        return parts

    def _signature(self, parts: Sequence[bytes]) -> bytes:
        return hmac.digest(self.key, b"".join(parts[:JSON_PARTS]), "sha256").hex().encode()


def make(
    msg_type: str,
    content: dict[str, Any],
    *,
    msg_id: str,
    session: str,
    at: datetime,
    parent: bytes = b"{}",
) -> list[bytes]:
    """The parts of a message of our own. `parent` is a header as JSON."""
    header = {
        "msg_id": msg_id,
        "msg_type": msg_type,
        "username": USERNAME,
        "session": session,
        "date": at,
        "version": PROTOCOL,
    }
    return [orjson.dumps(header), parent, b"{}", orjson.dumps(content)]


def json_object(part: bytes) -> dict[str, Any]:
    """A header, parent header, metadata or content as a dict. Raises BadMessage when it is none."""
    try:
        data = orjson.loads(part)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"A message that is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadMessage("A message that is not an object")
    return cast("dict[str, Any]", data)


def gap_notice(lost: bytes, count: int, *, msg_id: str, at: datetime) -> bytes:
    """The v1 frame that says, among a cell's output, that `count` messages up to `lost` were not kept."""
    first, parent = from_v1(lost).parts[:2]
    session = json_object(first).get("session", "")
    text = (
        f"evstore: {count} messages were not kept here; the room for output that nobody reads was used up.\n"
    )
    content = {"name": "stderr", "text": text}
    return to_v1("iopub", make("stream", content, msg_id=msg_id, session=session, at=at, parent=parent))
