"""The rules of the guard one by one: Host, Origin, CORS, XSRF, tokens, policies, proxies."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from itsdangerous import timed

from tests.helpers import TOKEN, Server, StartServer

API_POLICY = "frame-ancestors 'self'; report-uri {base}api/security/csp-report; default-src 'none'"


# -- Host ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.com", "evil.com:8888", "192.168.1.5", "127.0.0.1.evil.com"])
async def test_a_foreign_host_is_refused(server: Server, host: str):
    """S4: a name that an attacker's DNS points at this machine."""
    for path in ("/api", "/api/me", "/lab", "/login", "/static/page.css", "/nowhere"):
        reply = await server.fetch("GET", path, headers={"Host": host})
        assert reply.status == 403, path
        assert "--allow-remote-access" in reply.text


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8888"])
async def test_names_of_this_machine_are_accepted(server: Server, host: str):
    assert (await server.fetch("GET", "/api", headers={"Host": host})).status == 200


@pytest.mark.parametrize("config", [{"allow_remote_access": True}, {"host": "0.0.0.0"}])
async def test_any_host_is_accepted_when_remote_access_is_meant(
    start_server: StartServer, config: dict[str, object]
):
    server = await start_server(**config)
    assert (await server.fetch("GET", "/api", headers={"Host": "lab.example.com"})).status == 200


# -- Origin and CORS -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://{host}", 200),
        ("https://{host}", 200),
        ("HTTP://{host}", 200),
        (None, 200),
        ("http://evil.com", 404),
        ("http://{host}.evil.com", 404),
        ("http://evil.com/http://{host}", 404),
        ("http://evil.com#{host}", 404),
        ("http://x@{host}", 404),
        ("null", 404),
        ("", 404),
    ],
)
async def test_origin(server: Server, origin: str | None, status: int):
    """S3."""
    headers = await server.log_in()
    if origin is not None:
        headers["Origin"] = origin.format(host=server.host)
    assert (await server.fetch("GET", "/api/me", stranger=True, headers=headers)).status == status


@pytest.mark.parametrize(
    "origin",
    [
        "https://good.com.evil.com",
        "https://evil/https://good.com",
        "https://good.com:9999",
        "https://good.comedy",
        "http://good.com",
        "https://xgood.com",
    ],
)
async def test_only_the_allowed_origin_matches(start_server: StartServer, origin: str):
    """CVE-2026-40110, PYSEC-2026-3472."""
    server = await start_server(allow_origin="https://good.com")
    headers = {**await server.log_in(), "Origin": origin}
    reply = await server.fetch("GET", "/api/me", stranger=True, headers=headers)
    assert reply.status == 404
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize(
    ("allowed", "given", "expected"),
    [
        ("https://good.com", "https://good.com", "https://good.com"),
        ("https://good.com", "https://GOOD.com", "https://GOOD.com"),
        ("https://good.com", None, None),
        ("*", "https://any.com", "*"),
        ("", "http://{host}", None),
    ],
)
async def test_cors_headers_only_on_a_match(
    start_server: StartServer, allowed: str, given: str | None, expected: str | None
):
    """S23: and never with credentials."""
    server = await start_server(allow_origin=allowed)
    headers = await server.log_in()
    if given is not None:
        headers["Origin"] = given.format(host=server.host)
    reply = await server.fetch("GET", "/api/me", stranger=True, headers=headers)
    assert reply.status == 200
    assert reply.headers.get("Access-Control-Allow-Origin") == expected
    assert "Access-Control-Allow-Credentials" not in reply.headers
    assert ("Origin" in reply.headers.get("Vary", "")) == (allowed == "https://good.com")


async def test_preflight(start_server: StartServer):
    server = await start_server(allow_origin="https://good.com")
    for path in ("/api/me", "/api/contents/x", "/nowhere"):
        reply = await server.fetch("OPTIONS", path, stranger=True, headers={"Origin": "https://good.com"})
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["Access-Control-Allow-Origin"] == "https://good.com"
        assert (
            reply.headers["Access-Control-Allow-Headers"]
            == "accept, content-type, authorization, x-xsrftoken"
        )
        assert "PATCH" in reply.headers["Access-Control-Allow-Methods"]
    evil = await server.fetch("OPTIONS", "/api/me", stranger=True, headers={"Origin": "https://evil.com"})
    assert "Access-Control-Allow-Origin" not in evil.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_answers_can_not_be_included_by_other_sites(server: Server, site: str):
    """CVE-2019-9644: `<script src=.../api/contents>`, which sends cookies but no Origin."""
    headers = await server.log_in()
    metadata = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": site}
    reply = await server.fetch("GET", "/api/me", stranger=True, headers={**headers, **metadata})
    assert reply.status == 403
    for harmless in (
        {**metadata, "Sec-Fetch-Site": "same-origin"},
        {**metadata, "Sec-Fetch-Mode": "navigate"},
    ):
        assert (
            await server.fetch("GET", "/api/me", stranger=True, headers={**headers, **harmless})
        ).status == 200


# -- XSRF ----------------------------------------------------------------------------


async def change(
    server: Server, cookie: str, *, query: str = "", headers: dict[str, str] | None = None
) -> int:
    login = (await server.log_in())["Cookie"].partition(";")[0]
    given = {"Cookie": f"{login}; {cookie}", **(headers or {})}
    reply = await server.fetch(
        "PATCH", f"/api/me{query}", stranger=True, headers=given, json={"color": "red"}
    )
    return reply.status


@pytest.mark.parametrize(
    ("cookie", "given", "status"),
    [
        ("_xsrf=a", "a", 200),
        ("_xsrf=a; _xsrf=b", "a", 200),
        ("_xsrf=a; _xsrf=b", "b", 200),
        ('_xsrf="a"', "a", 200),
        ("_xsrf=2|1a|2b|3", "2|1a|2b|3", 200),
        ("_xsrf=a", "b", 403),
        ("_xsrf=", "", 403),
        ("x=a", "a", 403),
        ("_xsrf=a", "é", 403),
    ],
)
async def test_xsrf_header_and_cookie_agree(server: Server, cookie: str, given: str, status: int):
    """S1; of several cookies, any that matches counts: servers on other ports set theirs, too."""
    assert await change(server, cookie, headers={"X-XSRFToken": given}) == status
    assert await change(server, cookie, headers={"X-CSRFToken": given}) == status


async def test_xsrf_in_the_query(server: Server):
    assert await change(server, "_xsrf=a", query="?_xsrf=a") == 200
    assert await change(server, "_xsrf=a", query="?_xsrf=b") == 403


async def test_a_token_needs_no_xsrf(server: Server):
    """S21."""
    assert (await server.fetch("PATCH", "/api/me", json={"color": "red"})).status == 200
    path = f"/api/me?token={TOKEN}"
    assert (await server.fetch("PATCH", path, stranger=True, json={"color": "red"})).status == 200


async def test_a_foreign_page_with_the_token_gets_no_readable_answer(server: Server):
    """S21."""
    reply = await server.fetch(
        "GET", f"/api/me?token={TOKEN}", stranger=True, headers={"Origin": "http://evil.com"}
    )
    assert "Access-Control-Allow-Origin" not in reply.headers


# -- tokens and the cookies they set -------------------------------------------------


@pytest.mark.parametrize("scheme", ["token", "Token", "Bearer", "bearer"])
async def test_token_in_a_header(server: Server, scheme: str):
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    assert (await server.fetch("GET", "/api/me", stranger=True, headers=headers)).status == 200


@pytest.mark.parametrize("path", ["/lab", "/lab/tree/x.ipynb", "/"])
async def test_a_page_with_the_token_signs_in_and_takes_it_off_the_address(server: Server, path: str):
    """S5, S21; a deep link survives. Stripping must not depend on the order of the query."""
    reply = await server.fetch("GET", f"{path}?reset&token={TOKEN}&a=%2F", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, f"{path}?reset&a=%2F")
    login = next(line for line in reply.headers.getall("Set-Cookie") if line.startswith("username-"))
    assert login.startswith(f"username-127-0-0-1-{server.port}=")
    attributes = login.split("; ")[1:]
    assert set(attributes) == {"Path=/", "Max-Age=2592000", "SameSite=Lax", "HttpOnly"}
    cookie = login.partition(";")[0]
    assert (await server.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie})).status == 200


async def test_a_wrong_token_does_not_travel_on(server: Server):
    """S5: it may be the right one of another server."""
    reply = await server.fetch("GET", "/lab/tree/x?token=other&reset", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, "/login?next=/lab/tree/x%3Freset")
    cookies = await server.log_in()
    reply = await server.fetch("GET", "/lab?token=other", stranger=True, headers=cookies)
    assert (reply.status, reply.headers["Location"]) == (302, "/lab")


async def test_cookies_survive_a_restart(start_server: StartServer):
    first = await start_server()
    value = next(iter((await first.fetch("GET", "/api/me")).cookies.values()))
    second = await start_server(token="another")
    cookie = f"username-127-0-0-1-{second.port}={value}"
    assert (await second.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie})).status == 200


async def test_one_of_several_login_cookies_is_enough(server: Server):
    """Servers below other paths of this host use the same name."""
    login = (await server.log_in())["Cookie"].partition(";")[0]
    name = login.partition("=")[0]
    for cookie in (f"{name}=other; {login}", f"{login}; {name}=other"):
        assert (await server.fetch("GET", "/api/me", stranger=True, headers={"Cookie": cookie})).status == 200


async def test_each_request_with_a_token_alone_is_somebody_new(server: Server):
    first, second = [(await server.fetch("GET", "/api/me")).json()["identity"] for _ in range(2)]
    assert first["username"] != second["username"]


# -- policies ------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/", "/a%40b/"])
async def test_the_policy_of_api_answers(start_server: StartServer, base: str):
    """S9: compared exactly, as jupyter_server's own tests do."""
    server = await start_server(base_url=base)
    asked = [
        ("GET", "/api", 200),
        ("GET", "/api/me", 200),
        ("PATCH", "/api/me", 400),
        ("GET", "/api/contents/no", 404),
    ]
    for method, path, status in [*asked, ("PUT", "/api/me", 405)]:
        reply = await server.fetch(method, path)
        assert reply.status == status
        assert reply.headers["Content-Security-Policy"] == API_POLICY.format(base=base), path
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


async def test_every_answer_has_a_policy_and_no_version(server: Server):
    """S9."""
    paths = [
        "/lab",
        "/login",
        "/logout",
        "/static/page.css",
        "/static/lab/package.json",
        "/nowhere",
        "/nowhere/",
        "/",
    ]
    for path in paths:
        reply = await server.fetch("GET", path)
        assert (
            "frame-ancestors 'self'; report-uri /api/security/csp-report"
            in (reply.headers["Content-Security-Policy"])
        ), path
        assert reply.headers["X-Content-Type-Options"] == "nosniff", path
        assert reply.headers["Server"] == "evstore"


async def test_files_are_in_a_sandbox(start_server: StartServer):
    """CVE-2018-19351, CVE-2018-21030, CVE-2026-44727: an HTML file can't use the user's session."""
    server = await start_server(base_url="/base/")
    await server.fetch(
        "PUT", "/api/contents/x.html", json={"type": "file", "format": "text", "content": "<script>"}
    )
    reply = await server.fetch("GET", "/files/x.html")
    assert reply.status == 200
    assert reply.headers["Content-Security-Policy"] == (
        "frame-ancestors 'self'; report-uri /base/api/security/csp-report; sandbox allow-scripts"
    )
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 403),
        ("", {"Referer": "http://evil.com/page"}, 403),
        ("", {"Referer": "http://{host}.evil.com/"}, 403),
        ("?_xsrf=wrong", {}, 403),
        ("", {"Referer": "http://{host}/lab", "Origin": "http://evil.com"}, 404),
        ("", {"Referer": "http://{host}/lab"}, 200),
        ("?_xsrf=secret", {}, 200),
    ],
)
async def test_files_are_for_our_own_pages(server: Server, query: str, headers: dict[str, str], status: int):
    """CVE-2023-40170."""
    await server.fetch("PUT", "/api/contents/x.txt", json={"type": "file", "format": "text", "content": "x"})
    given = {name: value.format(host=server.host) for name, value in headers.items()}
    cookies = await server.log_in()
    reply = await server.fetch("GET", f"/files/x.txt{query}", stranger=True, headers={**cookies, **given})
    assert reply.status == status


# -- behind a proxy ------------------------------------------------------------------

FORWARDED = {
    "X-Forwarded-Host": "lab.example.com",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "1.2.3.4",
}


async def test_a_trusted_proxy_says_how_the_client_sees_us(start_server: StartServer):
    server = await start_server(trust_proxy=True, allow_remote_access=True)
    reply = await server.fetch("GET", f"/lab?token={TOKEN}", stranger=True, headers=FORWARDED)
    (cookie,) = reply.headers.getall("Set-Cookie")
    assert cookie.startswith("username-lab-example-com=")
    assert cookie.endswith("; Secure; HttpOnly")
    headers = {**FORWARDED, "Cookie": cookie.partition(";")[0], "Origin": "https://lab.example.com"}
    assert (await server.fetch("GET", "/api/me", stranger=True, headers=headers)).status == 200
    headers["Origin"] = f"http://{server.host}"
    assert (await server.fetch("GET", "/api/me", stranger=True, headers=headers)).status == 404


async def test_the_last_value_is_the_proxys(start_server: StartServer):
    server = await start_server(trust_proxy=True)
    forged = {"X-Forwarded-Host": "localhost, evil.com"}
    assert (await server.fetch("GET", "/api", headers=forged)).status == 403
    assert (
        await server.fetch("GET", "/api", headers={"X-Forwarded-Host": "evil.com, localhost"})
    ).status == 200


async def test_nobody_else_is_believed(server: Server):
    reply = await server.fetch("GET", f"/lab?token={TOKEN}", stranger=True, headers=FORWARDED)
    (cookie,) = reply.headers.getall("Set-Cookie")
    assert cookie.startswith("username-127-0-0-1-")
    assert "Secure" not in cookie


async def test_who_came_in_before_the_clock_was_set_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await server.log_in()
    with monkeypatch.context() as back:
        back.setattr(timed, "time", SimpleNamespace(time=lambda: time.time() - 60))
        reply = await server.fetch("GET", "/api/contents", headers=headers, stranger=True)
        assert reply.status == 403  # nobody knows what such a cookie means
    reply = await server.fetch("GET", "/api/contents", headers=headers, stranger=True)
    assert reply.status == 200
