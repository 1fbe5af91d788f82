"""The login and logout pages."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from evstore.services.auth import hash_password
from tests.helpers import TOKEN, Reply, Server, StartServer

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD)


async def log_in(server: Server, password: str, next: str | None = None, **headers: str) -> Reply:
    """What a browser does: get the form, then send it back with its cookie and its hidden field."""
    query = "" if next is None else "?" + urlencode({"next": next})
    form = await server.fetch("GET", f"/login{query}", stranger=True)
    assert form.status == 200
    action = re.search(r'action="([^"]*)"', form.text)
    xsrf = re.search(r'name="_xsrf" value="([^"]*)"', form.text)
    assert action is not None
    assert xsrf is not None
    base = server.services.config.base_url
    assert action[1].startswith(f"{base}login?next=")
    assert form.cookies["_xsrf"] == xsrf[1]
    return await server.fetch(
        "POST",
        action[1].removeprefix(base),
        stranger=True,
        data={"_xsrf": xsrf[1], "password": password},
        headers={"Cookie": f"_xsrf={xsrf[1]}", **headers},
    )


@pytest.fixture(params=["/", "/a%40b/"])
async def server(request: pytest.FixtureRequest, start_server: StartServer) -> Server:
    return await start_server(base_url=request.param, password_hash=HASH)


@pytest.mark.parametrize("key", [PASSWORD, TOKEN])
async def test_password_and_token_log_in(server: Server, key: str):
    reply = await log_in(server, key)
    assert (reply.status, reply.headers["Location"]) == (302, server.services.config.base_url)
    login = next(line for line in reply.headers.getall("Set-Cookie") if line.startswith("username-"))
    assert "HttpOnly" in login
    assert f"Path={server.services.config.base_url};" in login
    assert "_xsrf" in reply.cookies, "rotated at login (S2)"
    xsrf = next(line for line in reply.headers.getall("Set-Cookie") if line.startswith("_xsrf"))
    assert "HttpOnly" not in xsrf, "scripts of the page must read it"
    cookie = login.partition(";")[0]
    assert (await server.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie})).status == 200
    again = await server.fetch("GET", "/login?next=/evil", stranger=True, headers={"Cookie": cookie})
    assert again.status == 302, "who is signed in needs no form"


@pytest.mark.parametrize(
    "key", ["wrong", "", PASSWORD.upper(), "x" * 10_000, "\udc80".encode("utf-8", "replace").decode()]
)
async def test_a_wrong_password_is_refused(server: Server, key: str):
    """S6."""
    reply = await log_in(server, key)
    assert reply.status == 401
    assert "Invalid credentials" in reply.text
    assert not any(name.startswith("username-") for name in reply.cookies)


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil",
        "///evil",
        "/\\evil",
        "\\\\evil",
        "http:evil",
        "https:///evil",
        "%2f%2fevil",
        "/\t/evil",
        "https://evil",
    ],
)
async def test_nobody_is_sent_to_another_host(server: Server, wanted: str):
    """S19, CVE-2025-61669."""
    reply = await log_in(server, TOKEN, wanted)
    assert (reply.status, reply.headers["Location"]) == (302, server.services.config.base_url)


async def test_the_wanted_page_comes_after_the_login(server: Server):
    base = server.services.config.base_url
    wanted = f"{base}lab/tree/a%20b/x.ipynb?reset"
    stranger = await server.fetch("GET", "/lab/tree/a%20b/x.ipynb?reset", stranger=True)
    assert stranger.status == 302
    assert stranger.headers["Location"].startswith(f"{base}login?next=")
    assert (await log_in(server, TOKEN, wanted)).headers["Location"] == wanted


async def test_the_form_is_protected_against_other_sites(server: Server):
    """S1: nobody can be logged in as somebody else without noticing."""
    data = {"password": TOKEN, "_xsrf": "a"}
    for headers in ({}, {"Cookie": "_xsrf=b"}):
        assert (await server.fetch("POST", "/login", stranger=True, data=data, headers=headers)).status == 403
    headers = {"Cookie": "_xsrf=a", "Origin": "http://evil.com"}
    assert (await server.fetch("POST", "/login", stranger=True, data=data, headers=headers)).status == 404


async def test_what_stands_in_the_address_is_escaped(server: Server):
    """S16, CVE-2018-19352: names and addresses are text, never HTML."""
    attack = '/lab/"><img src=x onerror=alert(1)>'
    reply = await server.fetch("GET", "/login?" + urlencode({"next": attack}), stranger=True)
    assert "<img src=x" not in reply.text
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]


async def test_guessing_is_slowed_down(server: Server):
    """S6."""
    for _ in range(10):
        assert (await log_in(server, "wrong")).status == 401
    for key in ("wrong", TOKEN):
        reply = await log_in(server, key)
        assert reply.status == 429
        assert 0 < int(reply.headers["Retry-After"]) <= 61
    assert (await server.fetch("GET", "/api/me")).status == 200, "the token in a header is no guess"


async def test_behind_a_proxy_each_client_has_its_own_tries(start_server: StartServer):
    server = await start_server(trust_proxy=True)
    for _ in range(10):
        await log_in(server, "wrong", **{"X-Forwarded-For": "1.2.3.4"})
    assert (await log_in(server, TOKEN, **{"X-Forwarded-For": "1.2.3.4"})).status == 429
    assert (await log_in(server, TOKEN, **{"X-Forwarded-For": "4.3.2.1"})).status == 302


async def test_a_form_that_is_too_large_is_not_read(server: Server):
    """S17: before anybody is known."""

    async def endless():
        for _ in range(100):
            yield b"password=" + b"x" * 65_536

    for data in ({"password": "x" * 100_000}, endless()):
        assert (await server.fetch("POST", "/login", stranger=True, data=data)).status == 413


async def test_a_password_alone(start_server: StartServer):
    server = await start_server(token="", password_hash=HASH)
    assert "Password" in (await server.fetch("GET", "/login", stranger=True)).text
    assert (await log_in(server, "")).status == 401
    assert (await log_in(server, PASSWORD)).status == 302
    assert (await server.fetch("GET", "/api/me", headers={"Authorization": "token "})).status == 403


async def test_a_changed_password_ends_all_logins(start_server: StartServer):
    """CVE-2026-40934, S7."""
    before = await start_server(password_hash=hash_password("old"))
    value = next(value for name, value in (await log_in(before, "old")).cookies.items() if name != "_xsrf")
    for password_hash, status in ((before.services.config.password_hash, 200), (hash_password("new"), 403)):
        after = await start_server(password_hash=password_hash)
        cookie = f"username-127-0-0-1-{after.port}={value}"
        assert (
            await after.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie})
        ).status == status


async def test_logout_forgets_the_cookie(server: Server):
    cookies = await server.log_in()
    reply = await server.fetch("GET", "/logout", stranger=True, headers=cookies)
    assert reply.status == 200
    assert "Successfully logged out" in reply.text
    (line,) = reply.headers.getall("Set-Cookie")
    assert line.startswith(cookies["Cookie"].partition("=")[0] + "=;")
    assert f"Path={server.services.config.base_url}; Max-Age=0" in line


async def test_without_keys_there_is_nothing_to_log_out_of(start_server: StartServer):
    server = await start_server(token="")
    assert "Cannot log out" in (await server.fetch("GET", "/logout", stranger=True)).text
    assert (await server.fetch("GET", "/login", stranger=True)).headers["Location"] == "/"
