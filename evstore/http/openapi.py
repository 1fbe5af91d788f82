"""/api/spec.yaml: what this server can be asked, as OpenAPI 3.1.

Each area describes its operations in `spec/<area>.yaml`: paths and components, as they stand in an
OpenAPI document. What the guard does on every route alike is not repeated there but put in here:
who is let in (`security`), and the answers to those who are not, to bodies that are too large, and
so on. Operations whose routes this server does not have are left out. A test compares the files
with the route table both ways.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, cast

import yaml
from aiohttp import web

from evstore.http.routing import Access, Route

Object = dict[str, Any]
FRAGMENTS = Path(__file__).parent / "spec"
METHODS = ("get", "put", "post", "patch", "delete")
OPTIONAL_PATH = "(?s:/.*)?"  # of an entry: with its leading slash, or empty
SIGNED_IN: list[dict[str, list[str]]] = [
    {"token": []},
    {"tokenInAddress": []},
    {"cookie": [], "xsrf": []},
]
ABOUT = """\
Jupyter's API, and what evstore adds to it: every file and folder can be read, compared and restored as of any moment.

A GET can be asked as HEAD as well. Addresses that end in `{path}` name a file or folder by its path below the
served folder, with its slashes; without a path they are about that folder itself. Keys of a query that an operation
does not know are ignored. Every error of the API is `{"message": ..., "reason": ...}`.
"""


class Spec:
    """The document for one table of routes, made when it is asked for the first time."""

    def __init__(self, routes: Sequence[Route], base_url: str) -> None:
        self._routes = routes
        self._base_url = base_url
        self._turn = asyncio.Lock()
        self._text: bytes | None = None

    async def text(self) -> bytes:
        """The YAML."""
        async with self._turn:
            if self._text is None:
                self._text = await asyncio.to_thread(self._render)
            return self._text

    def _render(self) -> bytes:
        return dump(document(self._routes, self._base_url))


SPEC: web.AppKey[Spec] = web.AppKey("spec", Spec)


async def spec(request: web.Request) -> web.Response:
    """GET /api/spec.yaml: of the type that jupyter_server gives it."""
    return web.Response(body=await request.app[SPEC].text(), content_type="text/x-yaml")


def fragments() -> Iterator[tuple[str, Object]]:
    """The areas and what their files say."""
    for file in sorted(FRAGMENTS.glob("*.yaml")):
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, if PyYAML was built with it
        yield file.stem, cast(Object, yaml.load(file.read_bytes(), loader))


def document(routes: Sequence[Route], base_url: str) -> Object:
    """The whole document for `routes`. Raises ValueError when two areas describe one thing."""
    by_operation = {(route.method.lower(), address(route.path)): route for route in routes}
    paths: Object = {}
    components: dict[str, Object] = {}
    for area, fragment in fragments():
        for path, item in fragment.get("paths", {}).items():
            known = _known(area, path, item, by_operation)
            if any(method in METHODS for method in known):
                _unite(paths.setdefault(path, {}), known, path)
        for kind, named in fragment.get("components", {}).items():
            _unite(components.setdefault(kind, {}), named, kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "evstore", "version": version_of("evstore"), "description": ABOUT},
        "servers": [{"url": base_url.rstrip("/") or "/"}],
        "security": SIGNED_IN,
        "paths": dict(sorted(paths.items())),
        "components": components,
    }


def address(pattern: str) -> str:
    """A route's pattern as OpenAPI writes it: `/api/contents{path:(?s:/.*)?}` is `/api/contents/{path}`."""

    def parameter(found: re.Match[str]) -> str:
        name, rule = found["name"], found["rule"] or ""
        if rule == "/?":
            return ""
        return f"/{{{name}}}" if rule == OPTIONAL_PATH else f"{{{name}}}"

    return re.sub(r"\{(?P<name>\w+)(?::(?P<rule>(?:[^{}]|\{[^{}]*\})*))?\}", parameter, pattern)


def dump(data: Object) -> bytes:
    """`data` as YAML, every part written out where it belongs."""
    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    def always(_dumper: object, _part: object) -> bool:
        return True

    dumper = type("Dumper", (base,), {"ignore_aliases": always})
    return yaml.dump(data, None, dumper, sort_keys=False, allow_unicode=True, width=110, encoding="utf-8")


def _known(area: str, path: str, item: Object, by_operation: dict[tuple[str, str], Route]) -> Object:
    """A path's item with those of its operations that have a route, dressed."""
    return {
        key: _dressed(area, key, path, value, by_operation[key, path]) if key in METHODS else value
        for key, value in item.items()
        if key not in METHODS or (key, path) in by_operation
    }


def _dressed(area: str, method: str, path: str, operation: Object, route: Route) -> Object:
    """`operation` with what holds for its route because of the guard."""
    names = re.findall(r"\w+", path)
    dressed: Object = {"tags": [area], "operationId": "_".join([method, *names]), **operation}
    if route.access is Access.PUBLIC:
        dressed["security"] = []
    responses = {**_of_the_guard(route), **{str(key): value for key, value in operation["responses"].items()}}
    dressed["responses"] = dict(sorted(responses.items()))
    return dressed


def _of_the_guard(route: Route) -> Object:
    """The answers that the guard gives in the handler's place, by status."""
    is_page = route.access in (Access.PAGE, Access.EITHER)
    names = {"400": "Invalid", "403": "Forbidden", "404": "NotFound"}
    if route.method != "GET":
        names["413"] = "TooLarge"
    if is_page:
        names |= {"302": "Elsewhere"}
    suffix = "Page" if is_page else ""
    return {
        status: {"$ref": f"#/components/responses/{name}{suffix if status != '302' else ''}"}
        for status, name in names.items()
    }


def _unite(into: Object, more: Object, where: str) -> None:
    for key, value in more.items():
        if key in into and into[key] != value:
            raise ValueError(f"{where}: {key} is described twice.")
        into[key] = value
