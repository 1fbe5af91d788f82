"""What no client would send: the answer says so, and the log stays quiet."""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from typing import Any

import pytest

from tests.helpers import TOKEN, Server
from tests.kernel_client import start_kernel

DEEP = "[" * 1000 + "]" * 1000  # Python refuses to print it
EVENT = '"schema_id": "https://events.jupyter.org/jupyter_server/contents_service/v1"'
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "api/events", '{"schema_id": DEEP, "version": 1, "data": {}}'),
        ("POST", "api/events", f'{{{EVENT}, "version": DEEP, "data": {{}}}}'),
        ("POST", "api/events", f'{{{EVENT}, "version": 1, "data": {{}}, "timestamp": DEEP}}'),
        ("POST", "api/terminals", '{"name": DEEP}'),
        ("POST", "api/kernels", '{"name": DEEP}'),
        ("POST", "api/sessions", '{"path": "a", "type": "file", "kernel": DEEP}'),
        ("POST", "api/contents", '{"type": DEEP}'),
        ("PUT", "api/contents/a.txt", '{"type": DEEP, "format": "text", "content": ""}'),
        ("PUT", "api/contents/a.txt", '{"type": DEEP, "format": "text", "content": "", "chunk": 1}'),
        ("PUT", "api/contents/a.txt", '{"type": "file", "format": "text", "content": "", "chunk": DEEP}'),
        ("PUT", "api/contents/a.txt", '{"type": "\\ud800", "format": "text", "content": ""}'),
        ("POST", "notebooks", '{"nbformat": DEEP}'),
        ("POST", "api/history/undelete", '{"entry": DEEP}'),
    ],
)
async def test_what_is_nested_deeply_or_is_no_text(server: Server, method: str, path: str, body: str):
    reply = await server.fetch(method, path, data=body.replace("DEEP", DEEP).encode())
    assert reply.status == 400
    assert len(reply.json()["message"]) < 300


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
async def test_names_that_no_file_can_have_though_they_are_short(server: Server, method: str):
    body = None if method == "GET" else b"{}"
    assert (await server.fetch(method, "api/config/" + "%F0%A0%80%80" * 100, data=body)).status == 400
    for field in ("profile", "cluster_id"):
        reply = await server.fetch("POST", "ipyparallel/clusters", json={field: "\U00020000" * 99})
        assert reply.status == 400


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /api", {"Host": b"\xff\xfe"}, 403),
        ("GET /lab", {"Host": b"\xff\xfe", "Accept": b"text/html"}, 403),
        ("PUT /api/config/a", {"Origin": b"http://\xff", "Cookie": b"COOKIE"}, 404),
        ("GET /api/events/subscribe", {"Origin": b"http://\xff", "Upgrade": b"websocket", "Cookie": b"COOKIE"}, 403),
        ("POST /login", {"Cookie": b"_xsrf=\xff", "X-XSRFToken": b"\xfe"}, 403),
        ("GET /api/kernels", {"Authorization": b"token \xff"}, 403),
        ("GET /api/resolvePath?path=~%00a", {"Authorization": b"token " + TOKEN.encode()}, 200),
    ],
)  # fmt: skip
async def test_headers_and_names_that_are_no_text(
    server: Server,
    caplog: pytest.LogCaptureFixture,
    request_line: str,
    headers: dict[str, bytes],
    status: int,
):
    cookie = (await server.log_in())["Cookie"].encode()
    lines = {"Host": server.host.encode(), "Content-Length": b"0", "Connection": b"close"} | headers
    text = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in lines.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{request_line} HTTP/1.1\r\n".encode() + text.replace(b"COOKIE", cookie) + b"\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Security-Policy: " in answer  # it is our own answer
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("key", ["", "short", "ÿ" * 24, "Größe", "A" * 1000], ids=lambda key: str(key)[:5])
async def test_keys_of_websockets_that_are_none(server: Server, caplog: pytest.LogCaptureFixture, key: str):
    kernel = await start_kernel(server)
    terminal = (await server.fetch("POST", "api/terminals")).json()["name"]
    head = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for path in (
        "api/events/subscribe",
        f"api/kernels/{kernel}/channels",
        f"kernels/{kernel}/iopub",
        f"terminals/websocket/{terminal}",
    ):
        reply = await server.fetch("GET", path, headers=head | {"Sec-WebSocket-Key": key})
        assert (reply.status, bool(reply.json()["message"])) == (400, True), path
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_archives_hold_no_names_that_lead_elsewhere(server: Server):
    pictures: dict[str, Any] = {
        name: {"image/png": PNG} for name in ("..", "..\\up.png", "C:a.png", "../b.png", "a\nb.png")
    }
    cell = {"cell_type": "markdown", "metadata": {}, "source": "", "attachments": pictures}
    content: dict[str, Any] = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    reply = await server.fetch("POST", "nbconvert/markdown", json={"name": "n.ipynb", "content": content})
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert sorted(archive.namelist()) == [".._up.png", "C_a.png", "a_b.png", "b.png", "n.md"]
