"""Servers that are no gateway, and such as can't be trusted or reached: what clients are told, and that they do not wait for ever."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evstore.config import GatewayConfig
from evstore.core.errors import Invalid
from evstore.processes.gateway import connection
from tests.gateway import TOKEN, free_port, refused
from tests.helpers import StartServer
from tests.kernel_client import eventually, start_kernel

pytestmark = pytest.mark.usefixtures("no_secrets")


async def test_nobody_listens(start_server: StartServer) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    server = await start_server(gateway=GatewayConfig(url=url, token=TOKEN))
    sentence = f"The gateway at {url} can't be reached (Connection refused). Is it running, and is --gateway-url right?"
    assert await refused(server, "GET", "/api/kernelspecs") == (503, sentence)
    assert await refused(server, "POST", "/api/kernels") == (503, sentence)


Garbage = Any  # what a server that is no gateway answers
ANSWERS: list[tuple[str, Garbage, int, str]] = [
    ("HTML", web.Response(text="<html><p>Hello</p>", content_type="text/html"), 502, "gateway does (HTML)"),
    ("text", web.Response(text="hello"), 502, "something that is not JSON"),
    ("a list", web.json_response([1]), 502, "JSON of another kind"),
    ("no kernelspecs", web.json_response({}), 502, "a list without kernelspecs"),
    (
        "no spec",
        web.json_response({"kernelspecs": {"a": 1}, "default": 3}),
        502,
        "a kernelspec without its spec",
    ),
    (
        "a login page",
        web.HTTPFound("https://login.example.org/?secret=1"),
        502,
        "redirects to login.example.org",
    ),
    ("nowhere", web.Response(status=302, headers={"Location": "http://[x"}), 502, "redirects, which"),
    ("escapes", web.json_response({"message": "\x1b[31mred"}, status=500), 502, "(500: [31mred)"),
    (
        "forbidden",
        web.json_response({"message": "Resource\nLimit"}, status=403),
        502,
        "(403: Resource Limit)",
    ),
    ("broken", web.Response(status=500, text="<html>Traceback at /home/x"), 502, "failed (500)"),
    ("a proxy", web.Response(status=503, text="no upstream"), 503, "is not available (503)"),
    ("elsewhere", web.Response(status=404), 404, "does not know that (404)"),
    ("too much", web.Response(body=b" " * 20_000_000), 502, "more than"),
]


@pytest.fixture
async def garbage() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A server that answers everything with the same."""
    answer: dict[str, Any] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        found = answer["it"]
        if isinstance(found, web.HTTPException):
            raise found
        return await found(request) if callable(found) else found

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    yield f"http://127.0.0.1:{port}", answer
    await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "status", "words"), [one[1:] for one in ANSWERS], ids=[one[0] for one in ANSWERS]
)
async def test_what_is_no_gateway(
    garbage: tuple[str, dict[str, Any]], start_server: StartServer, answer: Garbage, status: int, words: str
) -> None:
    url, answers = garbage
    answers["it"] = answer
    server = await start_server(gateway=GatewayConfig(url=url, token=TOKEN))
    got = await refused(server, "GET", "/api/kernelspecs")
    assert got[0] == status
    assert words in got[1]
    assert "/home/x" not in got[1]


@pytest.fixture
async def with_tls(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """A gateway whose certificate nobody has signed but itself: its URL, and the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    await asyncio.to_thread(subprocess.run, [*command, *subject], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    app = web.Application()
    app.router.add_get("/below/api/kernelspecs", as_a_gateway)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "localhost", port := free_port(), ssl_context=context).start()
    yield f"https://localhost:{port}/below", certificate
    await runner.cleanup()


async def test_certificates(with_tls: tuple[str, Path], start_server: StartServer, tmp_path: Path) -> None:
    url, certificate = with_tls
    server = await start_server(gateway=GatewayConfig(url=url))
    status, words = await refused(server, "GET", "/api/kernelspecs")
    assert (status, "(self-signed certificate)" in words) == (502, True)
    for trusting in ({"ca_certs": certificate}, {"validate_cert": False}):
        server = await start_server(gateway=GatewayConfig(url=url, **trusting))
        assert (await server.fetch("GET", "/api/kernelspecs")).json()["default"] == "a"
    plain = await start_server(gateway=GatewayConfig(url=url.replace("https", "http")))
    assert (await refused(plain, "GET", "/api/kernelspecs"))[0] in (502, 503)
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(Invalid, match="The certificates for the gateway can't be used"):
        await start_server(gateway=GatewayConfig(url=url, ca_certs=tmp_path / "none.pem"))


async def test_a_gateway_that_is_too_slow(
    garbage: tuple[str, dict[str, Any]], start_server: StartServer
) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    url, answers = garbage
    answers["it"] = hang
    server = await start_server(gateway=GatewayConfig(url=url, timeout=0.2))
    status, words = await refused(server, "GET", "/api/kernelspecs")
    assert (status, "did not answer within 0.2 s" in words) == (503, True)


async def as_a_gateway(request: web.Request, kernel: str = "x") -> web.Response:
    """What a gateway answers that has a kernelspec, and starts one kernel."""
    match request.method, request.path.rpartition("/")[2]:
        case "POST", "kernels":
            return web.json_response({"id": kernel}, status=201)
        case "DELETE", _:
            return web.Response(status=204)
        case _, "kernelspecs":
            return web.json_response({"default": "a", "kernelspecs": {"a": {"spec": {"language": "x"}}}})
        case _:
            return web.json_response({"spec": {"language": "x"}, "name": "a"})


async def test_websockets_that_are_refused_and_then_nonsense(
    garbage: tuple[str, dict[str, Any]], start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel seems to run, but nothing of it can be heard; in the end it can be shut down all the same."""
    connections: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/channels"):
            if request.method == "DELETE":
                assert "x%2F..%2Fy" in request.raw_path
            return await as_a_gateway(request, "x/../y")
        connections.append(request.path)
        if len(connections) == 1:
            return web.Response(status=500)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("nonsense")
        await socket.send_bytes(b"\xff" * 100)
        await socket.send_str('{"channel": "shell", "parent_header": {"msg_id": 3}}')
        await socket.close(code=1011)
        return socket

    url, answers = garbage
    answers["it"] = handle
    server = await start_server(gateway=GatewayConfig(url=url))
    kernel = await start_kernel(server)

    async def has_tried() -> bool:
        return len(connections) >= 3

    await eventually(has_tried)
    assert "broke: The gateway at" in caplog.text
    assert "It came from the gateway for kernel" in caplog.text
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
    assert (await server.fetch("GET", "/api/kernels")).json() == []


async def test_websockets_that_are_closed_again_at_once(
    garbage: tuple[str, dict[str, Any]], start_server: StartServer
) -> None:
    """As by a proxy that does not know them: it is asked less and less often, however readily it answers."""
    tries: list[float] = []  # when, by the event loop's clock

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/channels"):
            return await as_a_gateway(request)
        tries.append(asyncio.get_running_loop().time())
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    url, answers = garbage
    answers["it"] = handle
    server = await start_server(gateway=GatewayConfig(url=url))
    kernel = await start_kernel(server)

    async def has_tried() -> bool:
        return len(tries) >= 5

    await eventually(has_tried)
    for number, (one, next_one) in enumerate(pairwise(tries)):
        assert next_one - one >= connection.FIRST_RETRY * 2**number * 0.8  # give or take a fifth
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
