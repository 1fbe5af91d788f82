"""The login and logout pages, and `/api/me`: who one is.

The form takes the password or, as in Jupyter, the token. Wrong ones are answered 401 and slow
down the address that they come from; argon2 runs in a thread, one at a time, so that a flood of
guesses can't take more than one core.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any, cast
from urllib.parse import quote

import orjson
from aiohttp import web

from evstore.core.errors import Invalid
from evstore.http.auth import CALLER, DOORMAN, Caller, caller
from evstore.http.pages import page
from evstore.http.proxy import address_of
from evstore.http.redirect import redirect, safe_next
from evstore.http.reply import json_object, json_reply
from evstore.http.routing import FORM
from evstore.http.services import Services, services
from evstore.services.auth import UPDATABLE, Identity


async def login_page(request: web.Request) -> web.Response:
    """GET /login: the form; who is signed in already goes on to where they wanted to."""
    if request.app[DOORMAN].caller(request) is not None:
        return _onward(request)
    return _form(request)


async def login(request: web.Request) -> web.Response:
    """POST /login: 302 with the login cookie, 401 for a wrong password, 429 after too many of them."""
    service = services(request)
    given = request[FORM].get("password", "")
    address = address_of(request, service.config.trust_proxy)
    async with request.app[DOORMAN].password_turn:
        if wait := service.auth.throttle.wait(address, time.monotonic()):
            response = _form(request, 429, f"Too many wrong passwords. Try again in {wait:.0f} seconds.")
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        if not await _is_right(service, given):
            service.auth.throttle.failed(address, time.monotonic())
            return _form(request, 401, "Invalid credentials.")
    service.auth.throttle.forget(address)
    request[CALLER] = Caller(Identity.anonymous(), known=False)
    request.app[DOORMAN].renew_xsrf(request)
    return _onward(request)


async def _is_right(service: Services, given: str) -> bool:
    auth = service.auth
    return not auth.enabled or auth.is_token(given) or await asyncio.to_thread(auth.is_password, given)


async def logout(request: web.Request) -> web.Response:
    """GET /logout: the cookie is forgotten, and a page says so."""
    service = services(request)
    if service.auth.enabled:
        message, target, label = "Successfully logged out.", "login", "Log in again"
    else:
        message, target, label = "Cannot log out: this server lets everybody in.", "", "To the start page"
    base_url = service.config.base_url
    response = page("logout", base_url=base_url, message=message, target=base_url + target, label=label)
    response.headers.add("Set-Cookie", request.app[DOORMAN].forget_cookie(request))
    return response


def _onward(request: web.Request) -> web.Response:
    base_url = services(request).config.base_url
    return redirect(safe_next(request.query.get("next", base_url), base_url))


def _form(request: web.Request, status: int = 200, error: str = "") -> web.Response:
    service = services(request)
    auth = service.auth
    names = [name for name, has in (("Password", auth.has_password), ("token", auth.has_token)) if has]
    hint = "The server printed an address with its token when it started; the token goes in here, too."
    base_url = service.config.base_url
    return page(
        "login",
        status=status,
        base_url=base_url,
        next=quote(safe_next(request.query.get("next", base_url), base_url), safe=""),
        xsrf=request.app[DOORMAN].xsrf(request),
        label=" or ".join(names).capitalize(),
        error=error,
        hint=hint if auth.has_token else "",
    )


async def me(request: web.Request) -> web.Response:
    """GET /api/me?permissions=: the identity, and of the permissions asked about those that it has."""
    identity = caller(request).identity
    is_allowed = services(request).authorizer.is_allowed
    text = request.query.get("permissions", "")
    asked: dict[str, list[str]] = _permissions(text) if text else {}
    permissions = {
        resource: [action for action in actions if is_allowed(identity, action, resource)]
        for resource, actions in asked.items()
    }
    return json_reply(
        {"identity": asdict(identity), "permissions": {**permissions, "updatable_fields": list(UPDATABLE)}}
    )


async def update_me(request: web.Request) -> web.Response:
    """PATCH /api/me: a new name or color, kept in the cookie."""
    changes = await json_object(request, required=True)
    if not changes:
        raise Invalid("Invalid or missing JSON body")
    identity = caller(request).identity.updated(changes)
    request[CALLER] = Caller(identity, known=False)
    return json_reply({"status": "success", "identity": asdict(identity)})


def _permissions(text: str) -> dict[str, list[str]]:
    bad = Invalid(f'permissions should be a JSON dict of {{"resource": ["action",]}}, got {text!r}')
    try:
        asked = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise bad from None
    if not isinstance(asked, dict):
        raise bad
    for actions in cast(dict[str, Any], asked).values():
        if not isinstance(actions, list) or not all(isinstance(a, str) for a in cast(list[Any], actions)):
            raise bad
    return cast(dict[str, list[str]], asked)
