"""What a route is: a method, a path below the base URL, a handler, and who may call it.

The table of all routes stands in `app.py`. Handlers are plain coroutines that parse,
call a service and render; they raise `EvstoreError`s and never catch them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from evstore.services.auth import Action

FORM: web.RequestKey[dict[str, str]] = web.RequestKey("form", dict[str, str])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Who is let in, what a stranger is told, and which Content-Security-Policy the answer carries."""

    PUBLIC = "public"  # anybody: /api, the login page, static images
    API = "api"  # the signed in; strangers get 403 and JSON
    PAGE = "page"  # the signed in; strangers are sent to the login page
    EITHER = "either"  # a page for who asks for HTML, else as API
    ASSET = "asset"  # what a page loads (themes, extensions): guarded like API, with a page's policy


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table. `path` is an aiohttp pattern below the base URL."""

    method: str
    path: str
    handler: Handler
    resource: str = ""  # what the authorizer is asked about; it is not asked on public routes
    access: Access = Access.API
    execute: bool = False  # True: the authorizer is asked for `execute`, whatever the method
    xsrf: bool = True  # False: an unsafe method that needs neither XSRF token nor Origin (csp-report)
    form: bool = False  # True: the body is an HTML form, to be had as `request[FORM]`
    referer: bool = False  # True: GET too wants `_xsrf` or a Referer of this host (/files)
    changes: bool = False  # True: a GET that changes something: it answers no HEAD, and no other site (S20)
    reads_content: bool = False  # True: what it shows is looked at on the disk first, and gets what its kernel has put out so far
    activity: bool = True  # False: asking for it does not count as using the server

    @property
    def action(self) -> Action:
        """What somebody who calls this route does to the resource."""
        if self.execute:
            return "execute"
        return "read" if self.method == "GET" and not self.changes else "write"

    def access_of(self, request: web.Request) -> Access:
        """`access`, where that depends on the request."""
        if self.access is not Access.EITHER:
            return self.access
        return Access.PAGE if wants_page(request) else Access.API


def wants_page(request: web.Request) -> bool:
    """Whether whoever asks looks at it with a browser."""
    return "text/html" in request.headers.get("Accept", "")
