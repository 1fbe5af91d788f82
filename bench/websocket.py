"""A kernel's websocket client that costs next to nothing: blocking, and only looking for what it must find."""

from __future__ import annotations

import base64
import json
import os
import socket
import uuid
from datetime import UTC, datetime

from bench.client import Connection, Target, request
from evstore.processes.kernels.wire import V1, from_v1, to_v1

BLOCK = 1 << 18  # bytes
PATIENCE = 20  # seconds


def execute_request(code: str) -> tuple[bytes, list[bytes]]:
    """An execution's message id, and its parts."""
    msg_id = uuid.uuid4().hex
    header = {
        "msg_id": msg_id,
        "msg_type": "execute_request",
        "session": "bench",
        "username": "",
        "date": datetime.now(UTC).isoformat(),
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    return msg_id.encode(), [json.dumps(part).encode() for part in (header, {}, {}, content)]


class WebSocket:
    """A kernel of a server, started for it, and its websocket."""

    def __init__(self, target: Target) -> None:
        connection = Connection(target.port)
        answer = connection.ask(request(target, "POST", "/api/kernels", b'{"name": "python3"}'))
        connection.close()
        kernel = json.loads(answer.body)["id"]
        self._socket = socket.create_connection(("127.0.0.1", target.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /api/kernels/{kernel}/channels HTTP/1.1",
            f"Host: 127.0.0.1:{target.port}",
            f"Authorization: token {target.token}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Sec-WebSocket-Protocol: {V1}",
        )
        self._socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        self._data = b""
        self._at = 0
        while b"\r\n\r\n" not in self._data:
            self._read()
        if not self._data.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"{target.name}: {self._data.decode(errors='replace')}")
        self._at = self._data.index(b"\r\n\r\n") + 4

    def send(self, parts: list[bytes]) -> None:
        """A message on the shell channel; the mask, which is for browsers' sake, is zero."""
        frame = to_v1("shell", parts)
        size = len(frame)
        head = (
            bytes((0x82, 0xFE)) + size.to_bytes(2) if size < 65536 else bytes((0x82, 0xFF)) + size.to_bytes(8)
        )
        self._socket.sendall(head + bytes(4) + frame)

    def receive(self) -> bytes:
        """The next message's frame; pings are answered on the way. Raises TimeoutError if none comes."""
        while True:
            self._need(2)
            kind, size, head = self._data[self._at], self._data[self._at + 1], 2
            if size >= 126:
                head = 4 if size == 126 else 10
                self._need(head)
                size = int.from_bytes(self._data[self._at + 2 : self._at + head])
            self._need(head + size)
            start = self._at + head
            self._at = start + size
            if kind == 0x82:
                return self._data[start : self._at]
            if kind == 0x89:
                self._socket.sendall(bytes((0x8A, 0x80 | size, 0, 0, 0, 0)) + self._data[start : self._at])

    def close(self) -> None:
        self._socket.close()

    def _need(self, size: int) -> None:
        while len(self._data) - self._at < size:
            self._read()

    def _read(self) -> None:
        block = self._socket.recv(BLOCK)
        if not block:
            raise RuntimeError("the server has closed the websocket")
        self._data = self._data[self._at :] + block
        self._at = 0


def content(frame: bytes) -> bytes:
    """A message's content, as JSON."""
    return from_v1(frame).parts[3]
