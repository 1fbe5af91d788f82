"""What goes over a worker's pipes, in both directions: frames of a JSON header and a body of plain bytes. Pure.

A frame is the sizes of both (32 and 64 bits, big-endian), the header, the body. No pickle: whatever
becomes of a worker, it can't make the server run anything.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

Header = dict[str, Any]

SIZES = struct.Struct(">IQ")


def pack(header: Header, body: bytes) -> list[bytes]:
    """The pieces of a frame, to be written one after the other."""
    text = json.dumps(header).encode()
    return [SIZES.pack(len(text), len(body)), text, body]


def read(file: BinaryIO) -> tuple[Header, bytes] | None:
    """The next frame, waiting for it; None at the end of the file."""
    sizes = file.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    header_size, body_size = SIZES.unpack(sizes)
    header, body = file.read(header_size), file.read(body_size)
    return (json.loads(header), body) if len(body) == body_size else None
