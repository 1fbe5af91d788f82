"""Every line of the route table refuses strangers, but for the few that are public (CVE-2024-22415)."""

from __future__ import annotations

import re

import aiohttp
import pytest

from evstore.http.app import ROUTES
from evstore.http.routing import Access, Route
from tests.helpers import Server, StartServer

PUBLIC = {
    ("GET", "/api"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/logout"),
    ("GET", "/favicon.ico"),
    ("GET", "/static/{path:.+}"),
    ("GET", "/static/lab/{path:.+}"),
    ("GET", "/static/notebook/{path:.+}"),
}
GUARDED = [route for route in ROUTES if route.access is not Access.PUBLIC]
UNSAFE = [route for route in GUARDED if route.method != "GET"]
WEBSOCKETS = [
    "/api/events/subscribe",
    "/api/kernels/x/channels",
    "/api/kernels/x/shell",
    "/kernels/x/iopub",
    "/terminals/websocket/x",
]
VALUES = {"slash": "", "id": "01890000-0000-7000-8000-000000000000", "channel": "stdin"}


def address(route: Route) -> str:
    """An address that this route answers."""

    def value(found: re.Match[str]) -> str:
        before = found["before"] or ""
        return before + VALUES.get(found["name"], "/x" if before else "1")

    pattern = r"(?P<before>[a-z])?\{(?P<name>\w+)(?::(?:[^{}]|\{[^{}]*\})*)?\}"
    return re.sub(pattern, value, route.path)


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_the_public_routes_are_few_and_known():
    assert {(route.method, route.path) for route in ROUTES if route.access is Access.PUBLIC} == PUBLIC


@pytest.fixture
async def shared(start_server: StartServer) -> Server:
    return await start_server(base_url="/base/")


def refused(status: int, location: str | None, route: Route) -> bool:
    if route.access is Access.PAGE and route.method == "GET":
        return status == 302 and (location or "").startswith(
            "/base/login?next=%2Fbase%2F".replace("%2F", "/")
        )
    return status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "token wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic dGVzdC10b2tlbg=="},
        {"Cookie": "username-127-0-0-1=x; _xsrf=x", "X-XSRFToken": "x"},
        {"Upgrade": "websocket", "Connection": "Upgrade"},
    ],
    ids=["nothing", "wrong token", "empty token", "basic", "forged cookie", "websocket"],
)
async def test_every_route_refuses_strangers(shared: Server, headers: dict[str, str]):
    """Invariant 12."""
    for route in GUARDED:
        reply = await shared.fetch(route.method, address(route), stranger=True, headers=headers)
        assert refused(reply.status, reply.headers.get("Location"), route), (name(route), reply.status)
        if reply.status == 403 and route.access is not Access.PAGE:
            assert reply.json()["message"].startswith("You are not signed in"), name(route)


async def test_the_walk_meets_every_route(shared: Server):
    """The addresses above are those of the routes, or the walk would prove nothing: no 404 and no 405."""
    for route in UNSAFE:
        reply = await shared.fetch(route.method, address(route), stranger=True)
        assert reply.status == 403, name(route)
    for route in GUARDED:
        reply = await shared.fetch("TRACE", address(route), stranger=True)
        assert reply.status == 405, name(route)
        assert route.method in reply.headers["Allow"], name(route)


async def test_a_cookie_alone_changes_nothing(shared: Server):
    """S1, S21, CVE-2026-40864: every unsafe method wants the XSRF token, whatever the fetch metadata says."""
    cookie = (await shared.log_in())["Cookie"]
    for route in UNSAFE:
        if not route.xsrf:
            continue
        for more in (
            {},
            {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"},
            {"X-XSRFToken": "wrong"},
        ):
            headers = {"Cookie": cookie, **more}
            reply = await shared.fetch(route.method, address(route), stranger=True, headers=headers)
            assert reply.status == 403, (name(route), more, reply.status)
            assert "XSRF" in reply.text.upper(), (name(route), reply.text)


async def test_pages_of_other_sites_get_no_answer(shared: Server):
    """S3: a foreign Origin is answered 404, and with 403 where it wants a websocket."""
    cookies = await shared.log_in()
    for route in GUARDED:
        if route.access is Access.PAGE or not route.xsrf:
            continue
        headers = {**cookies, "Origin": "http://evil.com"}
        reply = await shared.fetch(route.method, address(route), stranger=True, headers=headers)
        assert (reply.status, "Access-Control-Allow-Origin" in reply.headers) == (404, False), name(route)


@pytest.mark.parametrize("path", WEBSOCKETS)
async def test_websockets_refuse_strangers_before_the_upgrade(shared: Server, path: str):
    for headers in ({}, {"Authorization": "token wrong"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await shared.connect(path, stranger=True, headers=headers)
        assert refusal.value.status == 403


@pytest.mark.parametrize("path", WEBSOCKETS)
async def test_websockets_refuse_other_origins_before_the_upgrade(shared: Server, path: str):
    """The jupyter-collaboration hazard, S3, CVE-2026-40110."""
    cookies = await shared.log_in()
    for origin in ("http://evil.com", "null", f"http://{shared.host}.evil.com", "http://127.0.0.1:1"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await shared.connect(path, stranger=True, headers={"Cookie": cookies["Cookie"], "Origin": origin})
        assert refusal.value.status == 403, origin


async def test_a_cookie_admits_websockets_of_our_own_pages(server: Server):
    cookies = await server.log_in()
    headers = {"Cookie": cookies["Cookie"], "Origin": f"http://{server.host}"}
    socket = await server.connect("/api/events/subscribe", stranger=True, headers=headers)
    assert not socket.closed
    await socket.close()


async def test_without_token_and_password_everybody_is_let_in(start_server: StartServer):
    server = await start_server(token="")
    reply = await server.fetch("GET", "/api/me", stranger=True)
    assert reply.status == 200
    again = await server.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie_of(reply.cookies)})
    assert again.json()["identity"] == reply.json()["identity"]
    assert "Set-Cookie" not in again.headers
    other = await server.fetch("GET", "/api/me", stranger=True)
    assert other.json()["identity"]["username"] != reply.json()["identity"]["username"]


async def test_even_then_other_sites_are_kept_out(start_server: StartServer):
    server = await start_server(token="")
    patch = await server.fetch("PATCH", "/api/me", stranger=True, json={"name": "x"})
    assert patch.status == 403
    reply = await server.fetch("GET", "/api/me", stranger=True, headers={"Origin": "http://evil.com"})
    assert reply.status == 404


async def test_a_cookie_of_a_server_without_keys_does_not_open_one_with_a_key(start_server: StartServer):
    opened = await start_server(token="")
    value = next(iter((await opened.fetch("GET", "/api/me", stranger=True)).cookies.values()))
    closed = await start_server()
    cookie = f"username-127-0-0-1-{closed.port}={value}"
    assert (await closed.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie})).status == 403


def cookie_of(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
