"""The whole HTTP surface on one screen: every route is a line of ROUTES, and nothing is served besides.

A route's path stands below the base URL. GET answers HEAD too; OPTIONS is answered for every
path by the guard (`guard.py`), which also decides who gets in, before a handler runs.
"""

from __future__ import annotations

from aiohttp import web

from evstore.http import misc
from evstore.http.guard import Guard
from evstore.http.routing import Access, Route
from evstore.http.services import SERVICES, Services

ROUTES: tuple[Route, ...] = (
    # The server itself
    Route("GET", "/api", misc.version, Access.PUBLIC),
)


def make_app(services: Services) -> web.Application:
    """The application: all of ROUTES behind the guard, below the configured base URL."""
    config = services.config
    guard = Guard(config)
    app = web.Application(middlewares=[guard.middleware()], client_max_size=config.max_body_size)
    app[SERVICES] = services
    for route in ROUTES:
        guard.add(app, route)
    return app
