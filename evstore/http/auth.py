"""Who is asking: from the token or the login cookie of a request to a Caller.

Cookies follow Jupyter: `username-<host-port>` remembers the login (signed, HttpOnly), `_xsrf` is
readable by the page, which sends it back in a header with every unsafe request. Several of
each may arrive, set by servers on other ports or paths of this host: any that is valid counts.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from evstore.config import Config
from evstore.http.proxy import host_of, scheme_of
from evstore.services.auth import COOKIE_AGE, Auth, Identity, SignedIn, as_bytes

MAX_REMEMBERED = 512  # Cookie headers whose signatures were checked already
_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may use this server."""

    identity: Identity
    by_token: bool = False  # the request itself carried the token: no XSRF and Origin checks
    known: bool = True  # False: the answer sets the cookie that makes this identity last

    @property
    def actor(self) -> str:
        """The name that stands in the log for what this caller does."""
        return self.identity.name if self.known else "token" if self.by_token else "anonymous"


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
NEW_XSRF: web.RequestKey[str] = web.RequestKey("new_xsrf", str)


def caller(request: web.Request) -> Caller:
    """Who sent `request`. Only on routes that strangers can't reach."""
    return request[CALLER]


@dataclass(frozen=True, slots=True)
class Cookies:
    """What one Cookie header holds that concerns us."""

    login: SignedIn | None
    xsrf: tuple[str, ...]


_NO_COOKIES = Cookies(None, ())


class Authenticator:
    """Tells callers from strangers, and writes the cookies by which he knows them again."""

    def __init__(self, auth: Auth, config: Config) -> None:
        self._auth = auth
        self._trust_proxy = config.trust_proxy
        self._base_url = config.base_url
        self.password_turn = asyncio.Lock()  # one guess is checked at a time
        self._remembered: dict[tuple[str, str], Cookies] = {}

    def caller(self, request: web.Request) -> Caller | None:
        """The caller, or None for a stranger. A right token counts before a cookie."""
        login = self.cookies(request).login
        identity = login.identity if login and login.until > time.time() else None
        given = given_token(request)
        if given and self._auth.is_token(given):
            return Caller(identity or Identity.anonymous(), by_token=True, known=identity is not None)
        if identity is not None:
            return Caller(identity)
        return None if self._auth.enabled else Caller(Identity.anonymous(), known=False)

    def cookies(self, request: web.Request) -> Cookies:
        """The request's cookies. The signatures of a Cookie header are checked once, and remembered if they are right.

        One from the future may be right later: the clock has been set back since it was signed.
        """
        header = request.headers.get("Cookie")
        if not header:
            return _NO_COOKIES
        key = (header, self._cookie_name(request))
        cookies = self._remembered.get(key)
        if cookies is None:
            cookies = self._parse(*key)
            if cookies.login is not None:
                if len(self._remembered) >= MAX_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = cookies
        return cookies

    def xsrf_matches(self, request: web.Request, given: str) -> bool:
        """Whether one of the request's `_xsrf` cookies is what the page sent along."""
        sent = as_bytes(given)
        return any(hmac.compare_digest(as_bytes(cookie), sent) for cookie in self.cookies(request).xsrf)

    def xsrf(self, request: web.Request) -> str:
        """The `_xsrf` value for a page to send back: the browser's, or a new one that this answer sets."""
        sent = self.cookies(request).xsrf
        return sent[-1] if sent else self.renew_xsrf(request)

    def renew_xsrf(self, request: web.Request) -> str:
        """A new `_xsrf` value, whatever the browser has; the answer sets it."""
        request[NEW_XSRF] = secrets.token_hex(16)
        return request[NEW_XSRF]

    def due_cookies(self, request: web.Request) -> list[str]:
        """The Set-Cookie headers for the answer to `request`."""
        due: list[str] = []
        caller = request.get(CALLER)
        if caller is not None and not caller.known:
            value = self._auth.sign(caller.identity)
            due.append(self._cookie(request, self._cookie_name(request), value, COOKIE_AGE) + "; HttpOnly")
        if (xsrf := request.get(NEW_XSRF)) is not None:
            due.append(self._cookie(request, "_xsrf", xsrf, COOKIE_AGE))
        return due

    def forget_cookie(self, request: web.Request) -> str:
        """The Set-Cookie header that logs out."""
        return self._cookie(request, self._cookie_name(request), "", 0) + "; HttpOnly"

    def _cookie(self, request: web.Request, name: str, value: str, age: int) -> str:
        secure = "; Secure" if scheme_of(request, self._trust_proxy) == "https" else ""
        return f"{name}={value}; Path={self._base_url}; Max-Age={age}; SameSite=Lax{secure}"

    def _cookie_name(self, request: web.Request) -> str:
        """One name for each host and port, because browsers share cookies between ports."""
        return re.sub("[^A-Za-z0-9]", "-", f"username-{host_of(request, self._trust_proxy) or ''}")

    def _parse(self, header: str, login_name: str) -> Cookies:
        login: SignedIn | None = None
        xsrf: list[str] = []
        for name, value in _pairs(header):
            if name == "_xsrf" and value:
                xsrf.append(value)
            elif name == login_name and login is None:
                login = self._auth.read(value)
        return Cookies(login, tuple(xsrf))


DOORMAN: web.AppKey[Authenticator] = web.AppKey("doorman", Authenticator)


def given_token(request: web.Request) -> str:
    """The token that came with the request: `?token=` or `Authorization: token ...`; "" if none."""
    if "token=" in request.rel_url.raw_query_string and (given := request.query.get("token")):
        return given
    if header := request.headers.get("Authorization"):
        match = _AUTHORIZATION.fullmatch(header)
        return match[1] if match else ""
    return ""


def _pairs(header: str) -> Iterator[tuple[str, str]]:
    for part in header.split(";"):
        name, _, value = part.partition("=")
        yield name.strip(), value.strip().strip('"')
