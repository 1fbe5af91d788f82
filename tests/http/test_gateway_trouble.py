"""Gateways that are away, leave in the middle, refuse, or are none: what clients and the log are told."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evstore.config import GatewayConfig
from evstore.errors import Invalid
from evstore.gateway import api, connection
from tests.gateway import TOKEN, Cable, RealGateway, free_port
from tests.helpers import Server, StartServer
from tests.kernel_client import KernelClient, connected, eventually, kernel_model, start_kernel

LINES = "import time\nfor i in range({}): print(i, flush=True); time.sleep(0.01)"


@pytest.fixture
async def cable(gateway: RealGateway) -> AsyncIterator[Cable]:
    async with Cable(gateway.port) as cable:
        yield cable


@pytest.fixture
async def server(gateway: RealGateway, cable: Cable, start_server: StartServer) -> Server:
    return await start_server(gateway=gateway.config(url=cable.url))


@pytest.fixture(autouse=True)
def no_secrets(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert TOKEN not in caplog.text


async def refused(server: Server, method: str, path: str, **options: Any) -> tuple[int, str]:
    """The status of an error, and its sentence, which must not hold the token."""
    reply = await server.fetch(method, path, **options)
    assert TOKEN not in reply.text
    assert "Traceback" not in reply.text
    return reply.status, reply.json()["message"]


async def begun(client: KernelClient, code: str) -> str:
    """Execute something that prints; returns its id when it has begun to."""
    request = await client.execute(code)
    await client.until(lambda one: one.text != "" and one.parent["msg_id"] == request)
    return request


async def test_a_connection_that_breaks_in_the_middle(
    server: Server, cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server, await start_kernel(server)) as client:
        request = await begun(client, LINES.format(200))
        cable.cut()
        messages = await client.done(request)
        printed = "".join(one.text for one in client.seen if one.parent.get("msg_id") == request)
        assert printed.count("evstore: the connection to the gateway was broken for ") == 1
        lines = [line for line in printed.split("\n") if line.isdecimal()]
        assert lines[-1] == "199" and lines == sorted(set(lines), key=int)  # in order, none twice
        [reply] = [one for one in messages if one.channel == "shell"]
        assert reply.content["status"] == "ok"
        assert await client.run("print('still', i)") == "still 199\n"
    assert caplog.text.count("at its gateway broke: ") == caplog.text.count(" is back after ") == 1


async def test_an_answer_that_was_lost(server: Server, cable: Cable) -> None:
    async with connected(server, await start_kernel(server)) as client:
        request = await begun(client, LINES.format(30))
        cable.loses_answers = True
        await asyncio.sleep(2)  # in which the cell ends, and says so to nobody
        cable.loses_answers = False
        cable.cut()
        messages = await client.done(request)
        [reply] = [one for one in messages if one.channel == "shell"]
        assert (reply.content["status"], reply.content["ename"]) == ("error", "ConnectionLost")
        assert "It may or may not have run." in "".join(one.text for one in messages)
        assert await client.run("print(i)") == "29\n"


async def test_what_is_asked_while_the_gateway_is_away_waits(
    server: Server, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    async with connected(server, kernel := await start_kernel(server)) as client:
        request = await begun(client, LINES.format(100))
        cable.is_open = False
        cable.cut()
        await client.until(lambda one: "evstore: the gateway is away" in one.text)
        later = await client.execute("print('later')")
        for action in ("interrupt", "restart"):
            status, words = await refused(server, "POST", f"/api/kernels/{kernel}/{action}")
            assert (status, "broke the connection off" in words) == (503, True)
        assert (await refused(server, "DELETE", f"/api/kernels/{kernel}"))[0] == 503
        assert (await refused(server, "POST", "/api/kernels", json={"name": "python3"}))[0] == 503
        cable.is_open = True
        await client.done(request)
        await client.done(later)
        assert "later\n" in "".join(one.text for one in client.seen)
        assert (await kernel_model(server, kernel))["execution_state"] == "idle"
        assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204


async def test_a_gateway_that_is_killed_and_started_again(
    gateway: RealGateway, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server(gateway=gateway.config())
    body = {"path": "n.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    session = (await server.fetch("POST", "/api/sessions", json=body)).json()
    async with connected(server, session["kernel"]["id"]) as client:
        await begun(client, LINES.format(100_000))
        gateway.kill()
        try:
            for path in (
                "/api/kernelspecs",
                "/api/kernelspecs/python3",
                "/kernelspecs/python3/logo-64x64.png",
            ):
                status, words = await refused(server, "GET", path)
                assert status == 503
                assert words.startswith(f"The gateway at {gateway.url}")
                assert words.endswith("Is it running, and is --gateway-url right?")
            status, words = await refused(
                server, "POST", "/api/sessions", json=body | {"path": "other.ipynb"}
            )
            assert (status, "can't be reached" in words) == (503, True)
            assert len((await server.fetch("GET", "/api/sessions")).json()) == 1  # nobody knows better yet
        finally:
            gateway.start()
        assert await client.closed() == 1000
        assert client.seen[-1].state == "dead"
    assert (await server.fetch("GET", "/api/sessions")).json() == []
    assert "is gone from its gateway" in caplog.text
    async with connected(server, await start_kernel(server)) as client:  # and all is well again
        assert await client.run("print(1)") == "1\n"


async def test_a_server_stops_without_its_gateway(
    gateway: RealGateway, cable: Cable, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server(gateway=gateway.config(url=cable.url))
    async with connected(server, await start_kernel(server)) as client:
        await client.run("1")
        cable.is_open = False
        cable.cut()
        await server.services.kernels.close()
        assert await client.closed() == 1012
    assert "could not be stopped: The gateway at" in caplog.text


async def test_websockets_by_another_way(
    gateway: RealGateway, cable: Cable, start_server: StartServer
) -> None:
    server = await start_server(gateway=gateway.config(ws_url=f"ws://127.0.0.1:{cable.port}"))
    kernel = await start_kernel(server)
    assert cable.connections <= 1  # that of the kernel, if it is so quick
    async with connected(server, kernel) as client:
        assert await client.run("print(1)") == "1\n"
    assert cable.connections == 1


async def test_a_gateway_that_comes_later(gateway: RealGateway, start_server: StartServer) -> None:
    async with Cable(gateway.port) as cable:
        cable.is_open = False
        server = await start_server(gateway=gateway.config(url=cable.url))
        assert (await server.fetch("GET", "/api/status")).status == 200
        assert (await refused(server, "GET", "/api/kernelspecs"))[0] == 503
        cable.is_open = True
        assert "python3" in (await server.fetch("GET", "/api/kernelspecs")).json()["kernelspecs"]


async def test_nobody_listens(start_server: StartServer) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    server = await start_server(gateway=GatewayConfig(url=url, token=TOKEN))
    sentence = f"The gateway at {url} can't be reached (Connection refused). Is it running, and is --gateway-url right?"
    assert await refused(server, "GET", "/api/kernelspecs") == (503, sentence)
    assert await refused(server, "POST", "/api/kernels") == (503, sentence)


async def test_a_wrong_token(gateway: RealGateway, start_server: StartServer) -> None:
    server = await start_server(gateway=gateway.config(token="wrong-secret"))
    for method, path in (("GET", "/api/kernelspecs"), ("POST", "/api/kernels")):
        status, words = await refused(server, method, path)
        assert status == 502
        assert "does not accept the token (401" in words
        assert "--gateway-token" in words
        assert "wrong-secret" not in words
    page = await server.fetch("GET", "/api/status")
    assert page.status == 200  # nobody is logged out of evstore by that


async def test_a_kernel_that_the_gateway_does_not_have(server: Server) -> None:
    reply = await server.fetch("POST", "/api/kernels", json={"name": "nothing"})
    assert reply.status == 501
    assert reply.json()["short_message"] == "nothing not found"


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

    async def kernelspecs(_: web.Request) -> web.Response:
        return web.json_response({"default": "a", "kernelspecs": {"a": {"spec": {"language": "x"}}}})

    app = web.Application()
    app.router.add_get("/below/api/kernelspecs", kernelspecs)
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


async def test_websockets_that_are_refused_and_then_nonsense(
    garbage: tuple[str, dict[str, Any]], start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel seems to run, but nothing of it can be heard; in the end it can be shut down all the same."""
    connections: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        match request.method, request.path.rpartition("/")[2]:
            case "GET", "channels":
                connections.append("one")
                if len(connections) == 1:
                    return web.Response(status=500)
                socket = web.WebSocketResponse()
                await socket.prepare(request)
                await socket.send_str("nonsense")
                await socket.send_bytes(b"\xff" * 100)
                await socket.send_str('{"channel": "shell", "parent_header": {"msg_id": 3}}')
                await socket.close(code=1011)
                return socket
            case "POST", "kernels":
                return web.json_response({"id": "x/../y"}, status=201)
            case "DELETE", _:
                assert "x%2F..%2Fy" in request.raw_path
                return web.Response(status=204)
            case _, "kernelspecs":
                return web.json_response({"default": "a", "kernelspecs": {"a": {"spec": {"language": "x"}}}})
            case _:
                return web.json_response({"spec": {"language": "x"}, "name": "a"})

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
    """As by a proxy that does not know them: it is not asked as often as it likes to answer."""
    connections: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        match request.method, request.path.rpartition("/")[2]:
            case "GET", "channels":
                connections.append("one")
                socket = web.WebSocketResponse()
                await socket.prepare(request)
                await socket.close()
                return socket
            case "POST", "kernels":
                return web.json_response({"id": "x"}, status=201)
            case "DELETE", _:
                return web.Response(status=204)
            case _, "kernelspecs":
                return web.json_response({"default": "a", "kernelspecs": {"a": {"spec": {"language": "x"}}}})
            case _:
                return web.json_response({"spec": {"language": "x"}, "name": "a"})

    url, answers = garbage
    answers["it"] = handle
    server = await start_server(gateway=GatewayConfig(url=url))
    kernel = await start_kernel(server)
    await asyncio.sleep(2)
    assert 1 < len(connections) <= 6  # after 0.1, 0.2, 0.4, 0.8, 1.6 seconds, all give or take a fifth
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204


async def test_a_start_that_nobody_waits_for_any_more(
    gateway: RealGateway, cable: Cable, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shut down while the gateway still starts it: it must not run on there."""
    monkeypatch.setattr(api, "GOODBYE", 10.0)
    server = await start_server(gateway=gateway.config())
    before = len(gateway.kernels)
    starting = asyncio.create_task(server.services.kernels.start("python3", kernel_id="mine"))

    async def is_asked() -> bool:
        kernel = server.services.kernels.find("mine")
        return kernel is not None  # and it may even be quicker than we look

    await eventually(is_asked)
    await asyncio.sleep(0.01)
    kernel = server.services.kernels.get("mine")
    await kernel.stop()
    await asyncio.gather(starting, return_exceptions=True)

    async def is_gone() -> bool:
        return len(gateway.kernels) == before

    await eventually(is_gone)
