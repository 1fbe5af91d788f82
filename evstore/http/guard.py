"""What stands before and after every handler: who gets in, from where, and how errors look.

One flat middleware, for it runs on each request; what does not depend on the request is
computed once. The order: Host (S4), preflight, unknown paths, strangers out, permissions (S8),
Origin (S3), XSRF (S1); then the handler; then errors become Jupyter's JSON, or a page.
Headers are added by `dress`, a signal, so that streamed answers carry them as well (S9).
"""

from __future__ import annotations

import logging
import time
import traceback
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_urldispatcher import AbstractRoute

from evstore.core.errors import EvstoreError, Forbidden, Invalid, NotFound, TooLarge
from evstore.http.auth import CALLER, Authenticator, Caller
from evstore.http.csp import content_security_policy
from evstore.http.errors import error_response, http_error_response, response_to
from evstore.http.origin import Origins
from evstore.http.pages import error_page
from evstore.http.redirect import redirect, without_slashes, without_token
from evstore.http.refresh_before_read import refresh_before_read
from evstore.http.reply import read_at_most
from evstore.http.routing import FORM, Access, Route
from evstore.http.scrub import scrub
from evstore.http.services import Services

logger = logging.getLogger(__name__)

SAFE_METHODS = frozenset(("GET", "HEAD"))
REDIRECTED = frozenset(("GET", "HEAD", "POST", "PUT"))  # as in Jupyter
MAX_FORM = 64 * 1024  # bytes of a form that carries `_xsrf`
PREFLIGHT = {
    "Access-Control-Allow-Headers": "accept, content-type, authorization, x-xsrftoken",
    "Access-Control-Allow-Methods": "GET, PUT, POST, PATCH, DELETE, OPTIONS",
}


class Guard:
    """The middleware and the signal, with the table of routes that they go by."""

    def __init__(self, services: Services) -> None:
        config = services.config
        self.doorman = Authenticator(services.auth, config)
        self._origins = Origins(config)
        self._authorizer = services.authorizer
        self._activity = services.activity
        self._base_url = config.base_url
        self._max_body = config.max_body_size
        self._token = config.token
        self._page_policy = content_security_policy(config.base_url)
        self._api_policy = content_security_policy(config.base_url, "default-src 'none'")
        self._routes: dict[AbstractRoute, Route] = {}

    def add(self, app: web.Application, route: Route) -> None:
        """Register `route` below the base URL; GET answers HEAD as well."""
        prefix = unquote(self._base_url).rstrip("/")
        handler = refresh_before_read(route.handler) if route.reads_content else route.handler
        paths = [prefix + route.path] + ([prefix] if route.path == "/" and prefix else [])
        for path in paths:
            methods = ("GET", "HEAD") if route.method == "GET" and not route.changes else (route.method,)
            for method in methods:
                self._routes[app.router.add_route(method, path, handler)] = route

    def pattern_of(self, route: AbstractRoute) -> str | None:
        """The pattern of one of our routes, below the base URL; None for what aiohttp puts in the place of one."""
        found = self._routes.get(route)
        return None if found is None else found.path

    def middleware(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            route = self._routes.get(request.match_info.route)
            try:
                refusal = await self._admit(request, route)
                return await handler(request) if refusal is None else refusal
            except EvstoreError as error:
                if request.writer.output_size > 0:  # a second answer would be read as a part of the first
                    return self._unhandled(request, route)
                return self._render(request, route, response_to(error), error.message)
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                return http_error_response(error, self._max_body)
            except (ConnectionError, web.RequestPayloadError):
                return error_response(400, "The request's body ended before it was complete.")
            except Exception:
                return self._unhandled(request, route)

        return guard

    async def _admit(self, request: web.Request, route: Route | None) -> web.Response | None:
        """None when the handler may run, else the answer to give instead. Raises Forbidden and NotFound."""
        method = request.method
        self._origins.check_host(request)
        if method == "OPTIONS":
            return web.Response(status=204, headers=PREFLIGHT)
        if route is None:
            return self._nowhere(request)
        if "%" in request.rel_url.path_safe:
            _check_utf8(request.rel_url.raw_path)
        unsafe = method not in SAFE_METHODS
        if unsafe and (request.content_length or 0) > self._max_body:
            raise TooLarge(f"The request's body is larger than {self._max_body} bytes.")
        if route.form:
            request[FORM] = await _read_form(request)
        if route.access is not Access.PUBLIC:
            if (refusal := self._identify(request, route)) is not None:
                return refusal
            caller = request[CALLER]
            self._check_permission(caller, route)
            if caller.by_token:
                return None
        if route.xsrf:
            if unsafe or route.referer or route.access_of(request) in (Access.API, Access.ASSET):
                self._origins.check_origin(request)
            if unsafe:
                self._check_xsrf(request)
            elif route.changes:
                self._check_same_site(request)
            elif route.referer:
                self._check_referer(request)
        return None

    def _identify(self, request: web.Request, route: Route) -> web.Response | None:
        """Find the caller. Answers strangers, and takes the token off a page's address by a redirect."""
        caller = self.doorman.caller(request)
        is_page = route.access_of(request) is Access.PAGE and request.method in SAFE_METHODS
        if caller is None:
            if not is_page:
                raise Forbidden("You are not signed in: log in, or send this server's token.")
            target = quote(without_token(request), safe="/")
            return redirect(f"{self._base_url}login?next={target}")
        request[CALLER] = caller
        if route.activity and route.access is Access.API and not _is_untracked(request):
            self._activity.last = time.time()
        is_download = route.referer and "text/html" not in request.headers.get("Accept", "")
        if is_page and not is_download and "token" in request.query:
            return redirect(self._without_token(request, route, caller))
        return None

    def _without_token(self, request: web.Request, route: Route, caller: Caller) -> str:
        """The same address without the token, to be opened by the cookies that come with this answer.

        A pasted address has no Referer, so that of a file gets `_xsrf`, as JupyterLab's links have it;
        but for a right token only: another site can make up a wrong one.
        """
        target = without_token(request)
        if not route.referer or not caller.by_token:
            return target
        return f"{target}{'&' if '?' in target else '?'}_xsrf={quote(self.doorman.xsrf(request), safe='')}"

    def _check_permission(self, caller: Caller, route: Route) -> None:
        if not self._authorizer.is_allowed(caller.identity, route.action, route.resource):
            raise Forbidden(f"Your permissions do not include '{route.action}' on '{route.resource}'.")

    def _check_xsrf(self, request: web.Request) -> None:
        given = request.headers.get("X-XSRFToken") or request.headers.get("X-CSRFToken")
        given = given or request.query.get("_xsrf") or request.get(FORM, {}).get("_xsrf")
        if not given:
            raise Forbidden("'_xsrf' argument missing from POST")
        if not self.doorman.xsrf_matches(request, given):
            raise Forbidden("XSRF cookie does not match POST argument")

    def _check_referer(self, request: web.Request) -> None:
        """A file may be loaded by our own pages only (CVE-2023-40170), and by who types its address or has it as a bookmark.

        Browsers that know of Sec-Fetch-Site don't let a page forge it: `none` is no page's request at all.
        """
        if request.headers.get("Sec-Fetch-Site") == "none":
            return
        given = request.query.get("_xsrf")
        if given and self.doorman.xsrf_matches(request, given):
            return
        if not self._origins.is_ours(request, request.headers.get("Referer")):
            raise Forbidden("Blocking request from unknown origin")

    def _check_same_site(self, request: web.Request) -> None:
        """A GET that changes something is for our own pages and for who types the address, or has it as a bookmark.

        A link, an image or a redirect from elsewhere must not make notebooks (S20), nor must a browser that
        loads an address before anybody has pressed Enter.
        """
        given = request.query.get("_xsrf")
        if given and self.doorman.xsrf_matches(request, given):
            return
        headers = request.headers
        site = headers.get("Sec-Fetch-Site")
        if site is None:  # an old browser, or one that does not trust this connection enough
            is_ours = self._origins.is_ours(request, headers.get("Origin") or headers.get("Referer"))
        else:
            is_ours = site in ("same-origin", "none")
        if not is_ours or "prefetch" in headers.get("Sec-Purpose", ""):
            raise Forbidden(
                "This address changes something, so it only works from this server's own pages, typed in, "
                "or with `_xsrf`."
            )

    def _nowhere(self, request: web.Request) -> web.Response:
        """No route: a slash too many is a redirect (302, keeping the query), anything else a 404 or 405."""
        error = request.match_info.http_exception
        raw = request.rel_url.raw_path
        if error is not None and error.status != 404:
            return http_error_response(error, self._max_body)
        too_many = raw.endswith("/") or raw.startswith("//")
        if too_many and raw.strip("/"):
            if request.method in REDIRECTED:
                return without_slashes(request)
            refused = web.HTTPMethodNotAllowed(request.method, REDIRECTED)
            return http_error_response(refused, self._max_body)
        raise NotFound(f"There is nothing at {request.path}")

    def _unhandled(self, request: web.Request, route: Route | None) -> web.StreamResponse:
        """A bug: one traceback in the log, without secrets, and nothing of it in the answer (S16)."""
        logger.error(
            "%s failed:\n%s",
            scrub(f"{request.method} {request.path_qs}", self._token),
            scrub(traceback.format_exc(), self._token),
        )
        if request.writer.output_size > 0:
            raise ConnectionResetError("half of the answer was sent already")
        return self._render(request, route, error_response(500, "Unhandled error"), "Unhandled error")

    def _render(
        self, request: web.Request, route: Route | None, response: web.Response, message: str
    ) -> web.Response:
        """`response`, or a page of the same status for somebody who is looking at one."""
        is_page = route is None or route.access_of(request) is Access.PAGE
        if not is_page or "text/html" not in request.headers.get("Accept", ""):
            return response
        return error_page(response.status, message, base_url=self._base_url)

    async def dress(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put on every answer the headers that it must carry, and the cookies that are due."""
        route = self._routes.get(request.match_info.route)
        access = route.access_of(request) if route is not None else Access.PUBLIC
        headers = response.headers
        is_api = access is Access.API or (
            access is Access.PUBLIC and response.content_type == "application/json"
        )
        headers.setdefault("Content-Security-Policy", self._api_policy if is_api else self._page_policy)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers["Server"] = "evstore"
        self._origins.allow(request, headers)
        if access is not Access.ASSET:
            for cookie in self.doorman.due_cookies(request):
                headers.add("Set-Cookie", cookie)


def _is_untracked(request: web.Request) -> bool:
    """Whether the request itself says that it is no use of the server."""
    return "no_track_activity" in request.rel_url.raw_query_string and "no_track_activity" in request.query


def _check_utf8(raw_path: str) -> None:
    """Names are UTF-8 (S12): what is not, such as an overlong form, is the name of nothing."""
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise NotFound("There is nothing of that name: the address is not valid UTF-8.") from None


async def _read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form, which is read here because it may hold `_xsrf`, and before anybody is known."""
    text = (await read_at_most(request, MAX_FORM)).decode(errors="replace")
    try:
        return dict(parse_qsl(text, max_num_fields=100))
    except ValueError:
        raise Invalid("The form has too many fields.") from None
