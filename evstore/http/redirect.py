"""Where a browser may be sent to: always this very server, and never with a token in the address."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

_AS_IT_CAME = "/%:@!$&'()*+,;=~"


def redirect(location: str) -> web.Response:
    """302 to `location`, an address of this server."""
    return web.Response(status=302, headers={"Location": location})


def without_slashes(request: web.Request) -> web.Response:
    """A redirect to the same address with one slash before it and none after.

    `//host/` must not become the address of another host (CVE-2020-26232), nor must `/\\host/`,
    which browsers take for the same.
    """
    query = request.rel_url.raw_query_string
    path = "/" + quote(request.rel_url.raw_path.strip("/"), safe=_AS_IT_CAME)
    return redirect(f"{path}?{query}" if query else path)


def without_token(request: web.Request) -> str:
    """The request's path and query as they came, but for `token` (S5)."""
    parts = request.rel_url.raw_query_string.split("&")
    query = "&".join(part for part in parts if part.partition("=")[0] != "token")
    return f"{request.rel_url.raw_path}?{query}" if query else request.rel_url.raw_path


def safe_next(wanted: str, base_url: str) -> str:
    """Where to go after the login: `wanted` if it is an address below `base_url` on this very server (S19).

    Browsers take `//host`, `/\\host` and either with a tab in it for another host, so that everything but
    a plain absolute path leads to the start page instead (CVE-2025-61669 and those before it).
    """
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    if not plain or any(char <= " " or char == "\x7f" for char in wanted):
        return base_url
    if not (wanted.partition("?")[0] + "/").startswith(base_url):
        return base_url
    return quote(wanted, safe=_AS_IT_CAME + "?#[]")
