"""S8: the authorizer is asked before every route that is not public, and has the last word."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from jupyter_server.auth.utils import HTTP_METHOD_TO_AUTH_ACTION, match_url_to_resource

from evstore.http import history
from evstore.http.app import ROUTES
from evstore.http.legacy import routes
from evstore.http.routing import Access, Route
from evstore.services.auth import AllowAll, Identity
from tests.helpers import TOKEN, StartServer
from tests.http.test_strangers import GUARDED, WEBSOCKETS, address, name

Rule = Callable[[Identity, str, str], bool]


class Policy:
    """An authorizer that goes by a rule, and remembers what it was asked."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.asked: list[tuple[str, str]] = []

    def is_allowed(self, identity: Identity, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return self._rule(identity, action, resource)


def deny_all() -> Policy:
    return Policy(lambda identity, action, resource: False)


def read_only() -> Policy:
    return Policy(lambda identity, action, resource: action == "read")


def test_every_guarded_route_has_a_resource():
    for route in ROUTES:
        assert bool(route.resource) == (route.access is not Access.PUBLIC), name(route)


def theirs(route: Route) -> str | None:
    """What jupyter_server calls the resource at the address of `route`; None when it serves nothing there."""
    path = re.sub(r"\{\w+_id\}", "1-1-1-1-1", route.path)
    return match_url_to_resource(address(Route(route.method, path, route.handler)))


def test_resources_are_named_as_in_jupyter_server():
    known = {name(route): (route.resource, theirs(route)) for route in GUARDED if theirs(route)}
    assert {of for _, of in known.values()} == {
        *("api", "config", "contents", "csp", "events", "kernels", "kernelspecs", "nbconvert"),
        *("server", "sessions", "terminals"),
    }
    assert {route: pair for route, pair in known.items() if pair[0] != pair[1]} == {}


CHANNEL = "{kernel_id}/{channel:iopub|shell|stdin}"
OLD = {  # jupyter_server has none of these
    *(f"GET /kernels/{CHANNEL}", f"GET /api/kernels/{CHANNEL}", "POST /kernels/{kernel_id}/{action}"),
    *("GET /new", f"GET /{routes.ID}/copy"),  # which make a notebook
}


def test_actions_are_those_of_jupyter_server_but_for_what_runs_code():
    others = {name(route) for route in GUARDED if route.action != HTTP_METHOD_TO_AUTH_ACTION[route.method]}
    kernel = "/api/kernels/{kernel_id}"
    assert (
        others
        == {
            "GET /api/events/subscribe",  # websockets: `execute` there, too
            f"GET {kernel}/channels",
            "GET /terminals/websocket/{name:\\w+}",
            *(f"POST {kernel}/interrupt", f"POST {kernel}/restart"),  # `write` there
            "POST /lab/api/extensions",  # installs what runs
        }
        | OLD
    )


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "/lab/tree/x", ("read", "lab")),
        ("GET", "/api/contents/x?at=1", ("read", "contents")),
        ("HEAD", "/api/contents/x", ("read", "contents")),
        ("PUT", "/api/contents/x", ("write", "contents")),
        ("PATCH", "/api/contents/x", ("write", "contents")),
        ("DELETE", "/api/contents/x", ("write", "contents")),
        ("POST", "/api/contents/x/checkpoints/7", ("write", "contents")),
        ("GET", "/files/x", ("read", "contents")),
        ("GET", "/view/x", ("read", "contents")),
        ("GET", "/nbconvert/html/x", ("read", "nbconvert")),
        ("POST", "/nbconvert/html", ("write", "nbconvert")),
        ("GET", "/api/kernels", ("read", "kernels")),
        ("POST", "/api/kernels", ("write", "kernels")),
        ("POST", "/api/kernels/x/interrupt", ("execute", "kernels")),
        ("POST", "/api/kernels/x/restart", ("execute", "kernels")),
        ("GET", "/api/kernels/x/channels", ("execute", "kernels")),
        ("POST", "/api/sessions", ("write", "sessions")),
        ("GET", "/api/kernelspecs", ("read", "kernelspecs")),
        ("PATCH", "/api/config/x", ("write", "config")),
        ("PUT", "/lab/api/settings/x", ("write", "lab")),
        ("GET", "/api/me", ("read", "api")),
        ("POST", "/api/shutdown", ("write", "server")),
        ("POST", "/api/security/csp-report", ("write", "csp")),
        ("GET", "/api/events/subscribe", ("execute", "events")),
        ("GET", "/api/nbconvert", ("read", "nbconvert")),
        ("POST", "/api/clusters/x/start", ("write", "clusters")),
        ("GET", "/api/terminals", ("read", "terminals")),
        ("POST", "/api/terminals", ("write", "terminals")),
        ("DELETE", "/api/terminals/1", ("write", "terminals")),
        ("GET", "/terminals/websocket/1", ("execute", "terminals")),
        ("GET", "/api/history/log", ("read", "history")),
        ("GET", "/api/history/versions/x", ("read", "history")),
        ("GET", "/api/history/feed", ("read", "history")),
        ("POST", "/api/history/rebuild", ("write", "history")),
        ("POST", "/api/history/restore/x", ("write", "restore")),
        ("POST", "/api/history/undelete", ("write", "restore")),
    ],
)
async def test_what_is_asked(start_server: StartServer, method: str, path: str, asked: tuple[str, str]):
    policy = deny_all()
    server = await start_server(authorizer=policy)
    await server.fetch(method, path, stranger=True)
    assert policy.asked == [], "strangers have no permissions to ask about"
    assert (await server.fetch(method, path)).status == 403
    assert policy.asked == [asked]


async def test_deny_all_refuses_every_guarded_route(start_server: StartServer):
    policy = deny_all()
    server = await start_server(authorizer=policy)
    cookies = await server.log_in()
    for route in GUARDED:
        for stranger, headers in ((False, {}), (True, cookies)):
            policy.asked.clear()
            reply = await server.fetch(route.method, address(route), stranger=stranger, headers=headers)
            assert reply.status == 403, name(route)
            sentence = f"Your permissions do not include '{route.action}' on '{route.resource}'."
            assert reply.json()["message"] == sentence, name(route)
            assert policy.asked == [(route.action, route.resource)], "once for each request"
    assert not server.services.stop.is_set()
    assert server.services.store.offset == 0


@pytest.mark.parametrize("policy", [deny_all(), read_only()], ids=["deny all", "read only"])
@pytest.mark.parametrize("path", WEBSOCKETS)
async def test_websockets_are_refused_before_the_upgrade(
    start_server: StartServer, policy: Policy, path: str
):
    server = await start_server(authorizer=policy)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await server.connect(path)
    assert refusal.value.status == 403


async def test_read_only_allows_reading_and_nothing_else(start_server: StartServer):
    server = await start_server(authorizer=read_only())
    headers = {"Authorization": f"token {TOKEN}"}
    for route in GUARDED:
        if route.handler is history.feed:
            continue  # it has no end
        url = server.url + address(route).removeprefix("/")
        async with server.session.request(route.method, url, headers=headers, allow_redirects=False) as reply:
            assert (reply.status == 403) == (route.action != "read"), (name(route), reply.status)
            assert reply.status < 500, name(route)


async def test_public_routes_ask_nobody(start_server: StartServer):
    policy = deny_all()
    server = await start_server(authorizer=policy)
    for path in ("/api", "/login", "/logout", "/static/page.css", "/favicon.ico"):
        reply = await server.fetch("GET", path)
        assert reply.status < 400, path
    assert policy.asked == []


async def test_it_depends_on_who_asks(start_server: StartServer):
    everybody_reads_ada_writes = Policy(lambda who, action, what: action == "read" or who.name == "Ada")
    server = await start_server(authorizer=everybody_reads_ada_writes)
    for who, status in (("Ada", 201), ("Eve", 403)):
        identity = Identity(username=who, name=who, display_name=who)
        login = f"username-127-0-0-1-{server.port}={server.services.auth.sign(identity)}"
        headers = {"Cookie": f"{login}; _xsrf=a", "X-XSRFToken": "a"}
        model = {"type": "directory"}
        reply = await server.fetch("PUT", f"/api/contents/{who}", stranger=True, headers=headers, json=model)
        assert reply.status == status
    assert (await server.fetch("GET", "/api/contents/Ada")).status == 200
    assert (await server.fetch("GET", "/api/contents/Eve")).status == 404


async def test_me_tells_the_permissions(start_server: StartServer):
    asked = {"contents": ["read", "write"], "kernels": ["execute"], "terminals": ["read", "fly"], "x": []}
    path = "/api/me?permissions=" + quote(orjson.dumps(asked).decode())
    for authorizer, expected in (
        (read_only(), {"contents": ["read"], "kernels": [], "terminals": ["read"], "x": []}),
        (AllowAll(), asked),
    ):
        server = await start_server(authorizer=authorizer)
        permissions = (await server.fetch("GET", path)).json()["permissions"]
        permissions.pop("updatable_fields")
        assert permissions == expected


async def test_a_browser_is_told_on_a_page_and_its_address_holds_no_token(start_server: StartServer):
    server = await start_server(authorizer=deny_all())
    reply = await server.fetch("GET", f"/lab?token={TOKEN}", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, "/lab")
    reply = await server.fetch("GET", "/lab", headers={"Accept": "text/html"})
    assert (reply.status, reply.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "Your permissions do not include" in reply.text
