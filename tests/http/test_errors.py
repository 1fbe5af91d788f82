"""How errors look on the wire, and what of them stands in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from evstore.core import errors
from evstore.core.errors import Busy, EvstoreError
from evstore.http.app import ROUTES
from evstore.http.errors import STATUS, status_of
from evstore.http.routing import Access, Route
from tests.helpers import TOKEN, Server, StartServer, make_services, run_test_server

SECRET = "SECRETSECRET"


def subclasses(kind: type[EvstoreError]) -> set[type[EvstoreError]]:
    return {kind}.union(*(subclasses(below) for below in kind.__subclasses__()))


def test_every_error_that_a_request_can_meet_has_a_status():
    only_commands = {errors.Stopped}  # raised by the command line alone
    missing = {kind for kind in subclasses(EvstoreError) if not STATUS.keys() & set(kind.__mro__)}
    assert missing == {EvstoreError} | only_commands
    assert all(400 <= status < 600 for status in STATUS.values())
    assert status_of(errors.Locked("x")) == 500


async def fails(request: web.Request) -> web.Response:
    raise RuntimeError(f"disk /home/user/private failed at http://x/?token={SECRET} for {TOKEN}")


async def fails_half_way(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise RuntimeError("in the middle")


async def is_busy(request: web.Request) -> web.Response:
    raise Busy


async def reads(request: web.Request) -> web.Response:
    return web.Response(body=str(len(await request.read())).encode())


FAILING = (
    Route("GET", "/api/fails", fails),
    Route("GET", "/fails", fails, access=Access.PAGE),
    Route("GET", "/api/half", fails_half_way),
    Route("GET", "/api/busy", is_busy),
    Route("PUT", "/api/reads", reads),
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with (
        make_services(tmp_path, max_body_size=1000) as services,
        run_test_server(services, (*ROUTES, *FAILING)) as server,
    ):
        yield server


async def test_a_bug_is_a_bare_500_and_one_traceback_without_secrets(
    server: Server, caplog: pytest.LogCaptureFixture
):
    """S14, S16, CVE-2023-49080, CVE-2026-86049, CVE-2022-24757, CVE-2022-24758."""
    headers = {"Referer": f"http://x/?token={SECRET}", "Cookie": f"x={SECRET}"}
    reply = await server.fetch("GET", f"/api/fails?auth={SECRET}&token={TOKEN}", headers=headers)
    assert (reply.status, reply.json()) == (500, {"message": "Unhandled error", "reason": None})
    assert caplog.text.count("Traceback (most recent call last)") == 1
    assert "test_errors.py" in caplog.text
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


async def test_a_bug_on_a_page_is_a_page(server: Server):
    reply = await server.fetch("GET", "/fails", headers={"Accept": "text/html"})
    assert (reply.status, reply.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert "Unhandled error" in reply.text
    assert "private" not in reply.text


async def test_a_bug_in_the_middle_of_an_answer_breaks_the_connection(
    server: Server, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(Exception, match=r"payload|disconnected|closed"):
        await server.fetch("GET", "/api/half")
    assert caplog.text.count("Traceback (most recent call last)") == 1


async def test_busy_says_when_to_come_back(server: Server):
    reply = await server.fetch("GET", "/api/busy")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


async def test_names_in_pages_are_text(server: Server):
    """CVE-2018-19352, CVE-2015-6938, CVE-2015-7337, CVE-2018-8768."""
    for path in ("/%3Cimg%20src=x%20onerror=alert(1)%3E", "/lab/api/%3Cscript%3E"):
        reply = await server.fetch("GET", path, headers={"Accept": "text/html"})
        assert reply.status == 404
        assert reply.headers["Content-Type"].startswith("text/html")
        assert "&lt;" in reply.text
        assert "<img src=x" not in reply.text
        assert "<script" not in reply.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/nowhere", 404),
        ("PUT", "/api/me", 405),
        ("PROPFIND", "/api/me", 405),
        ("GET", "/api/contents/%c0%ae%c0%ae/x", 404),
        ("GET", "/api/contents/%ff", 404),
        ("PUT", "/api/contents/%ed%a0%80", 404),
    ],
)
async def test_refusals_are_sentences(server: Server, method: str, path: str, status: int):
    """S12 for the overlong and the undecodable."""
    reply = await server.fetch(method, path)
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/json"
    assert set(reply.json()) == {"message", "reason"}
    assert reply.json()["message"].endswith((".", path)) or " " in reply.json()["message"]


async def test_a_body_that_is_too_large_is_413(server: Server):
    """S17: told from its length before it is read, or while it is read."""

    async def chunks():
        for _ in range(3):
            yield b"x" * 500

    assert (await server.fetch("PUT", "/api/reads", data=b"x" * 1000)).text == "1000"
    for data in (b"x" * 1001, chunks()):
        reply = await server.fetch("PUT", "/api/reads", data=data)
        assert reply.status == 413
        assert reply.json()["message"] == "The request's body is larger than 1000 bytes."


async def test_a_body_that_is_not_what_it_says(server: Server, caplog: pytest.LogCaptureFixture):
    """A gzip that is none, and a client that hangs up in the middle: no traceback in the log."""
    reply = await server.fetch("PUT", "/api/reads", data=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert reply.status == 400
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"PUT /api/reads HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\nContent-Length: 500\r\n\r\n"
    writer.write(head.encode() + b"only this")
    await writer.drain()
    writer.close()
    assert (await server.fetch("GET", "/api")).status == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PUT /api/me HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /api HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http_leaves_no_traceback(
    server: Server, caplog: pytest.LogCaptureFixture, data: bytes
):
    caplog.set_level(logging.INFO)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    answer = await reader.readline()
    assert b" 40" in answer
    writer.close()
    assert "Traceback" not in caplog.text


async def test_long_cookies_are_accepted(server: Server):
    """All ports of localhost share one cookie jar."""
    cookie = "; ".join(f"c{number}={'x' * 4000}" for number in range(12))
    assert (await server.fetch("GET", "/api/me", headers={"Cookie": cookie})).status == 200


async def test_base_url_is_part_of_error_pages(start_server: StartServer):
    server = await start_server(base_url="/base/")
    reply = await server.fetch("GET", "/nowhere", headers={"Accept": "text/html"})
    assert 'href="/base/static/page.css"' in reply.text
