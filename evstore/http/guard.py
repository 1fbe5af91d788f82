"""What stands before and after every handler: errors become Jupyter's JSON, in one place."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from evstore.config import Config
from evstore.errors import EvstoreError
from evstore.http.errors import error_response, status_of
from evstore.http.routing import Route

logger = logging.getLogger(__name__)


class Guard:
    """The one middleware, with everything precomputed that does not depend on the request."""

    def __init__(self, config: Config) -> None:
        self._base = config.base_url.rstrip("/")

    def add(self, app: web.Application, route: Route) -> None:
        """Register `route` below the base URL; GET answers HEAD as well."""
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        for method in methods:
            app.router.add_route(method, self._base + route.path, route.handler)

    def middleware(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._handle(request, handler)

        return guard

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except EvstoreError as error:
            return error_response(status_of(error), error.message)
        except web.HTTPException as error:
            return error_response(error.status, error.reason)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return error_response(500, "Unhandled error")
