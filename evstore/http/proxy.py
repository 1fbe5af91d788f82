"""Where a request comes from: what the connection says or, if the operator trusts it, the proxy.

Of several values in one header the last counts: that is what our own proxy added, while
the ones before it may have been sent by anybody.
"""

from __future__ import annotations

from aiohttp import web


def host_of(request: web.Request, trust_proxy: bool) -> str | None:
    """The `host[:port]` that the client asked for; None when it did not say (HTTP/1.0 scripts)."""
    given = _forwarded(request, "X-Forwarded-Host") if trust_proxy else None
    return given or request.headers.get("Host")


def scheme_of(request: web.Request, trust_proxy: bool) -> str:
    """`https` or `http`, as the client sees it."""
    given = _forwarded(request, "X-Forwarded-Proto") if trust_proxy else None
    return given or request.scheme


def address_of(request: web.Request, trust_proxy: bool) -> str:
    """The client's network address."""
    given = _forwarded(request, "X-Forwarded-For") if trust_proxy else None
    return given or request.remote or ""


def _forwarded(request: web.Request, name: str) -> str | None:
    value = request.headers.get(name)
    return value and value.rpartition(",")[2].strip()
