"""The few HTML pages that are our own: plain files with `$placeholders`. Every value is escaped."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template

from aiohttp import web

from evstore.http.csp import content_security_policy

_POLICY = ("default-src 'self'", "base-uri 'none'", "form-action 'self'")
_TEMPLATES = {
    name: Template(files(__name__).joinpath(f"{name}.html").read_text(encoding="utf-8"))
    for name in ("error", "login", "logout", "noapp", "view")
}


def page(name: str, *, base_url: str, status: int = 200, **values: str) -> web.Response:
    """The page `name` with each `$placeholder` replaced by its value, which is text and no HTML."""
    escaped = {key: escape(value) for key, value in values.items()}
    html = _TEMPLATES[name].substitute(escaped, base_url=escape(base_url))
    return web.Response(
        status=status,
        text=html,
        content_type="text/html",
        headers={
            "Content-Security-Policy": content_security_policy(base_url, *_POLICY),
            "Cache-Control": "no-store",
        },
    )


def error_page(status: int, message: str, *, base_url: str) -> web.Response:
    """What somebody sees whose address leads nowhere."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return page("error", status=status, title=title, message=message, base_url=base_url)
