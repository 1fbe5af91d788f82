"""What schemathesis must be told that stands in no OpenAPI document. Runs in its process."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote

import requests
import schemathesis

from evstore.http import openapi
from evstore.http.app import ROUTES
from evstore.http.routing import Route

schemathesis.serializer.alias("application/csp-report", "application/json")

EXAMPLE = {"content": {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}}
KEPT = ("", "folder", "folder/notebook.ipynb")  # what the document's examples are about


def _rule(pattern: str) -> re.Pattern[str]:
    """The regular expression that an aiohttp pattern stands for."""
    parts = re.split(r"\{\w+(?::((?:[^{}]|\{[^{}]*\})*))?\}", pattern)
    rules = [rule or "[^{}/]+" for rule in parts[1::2]] + [""]
    return re.compile("".join(map("{}{}".format, map(re.escape, parts[::2]), rules)))


def _order(route: Route) -> int:
    """aiohttp looks among the routes with the longest fixed beginning first."""
    return -len(route.path.partition("{")[0].rstrip("/"))


RULES = [
    (route.method, openapi.address(route.path), _rule(route.path)) for route in sorted(ROUTES, key=_order)
]


def is_about_another_route(case: schemathesis.Case) -> bool:
    """`/notebooks/{id}` with what is no id is another page: what it answers stands elsewhere in the document."""
    path = unquote(case.formatted_path)
    routes = [(method, address) for method, address, rule in RULES if rule.fullmatch(path)]
    same = [address for method, address in routes if method == case.method]
    return case.path not in (same[:1] or [address for _, address in routes] or [case.path])


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Leave out what is not about the operation, and what would end the notebook of the document's examples."""
    return not is_about_another_route(case) and not ends_the_example(case)


def ends_the_example(case: schemathesis.Case) -> bool:
    """It stays where it is, so that all examples are about something."""
    path = str((case.path_parameters or {}).get("path")).replace("%2F", "/").strip("/")
    is_trial = isinstance(case.body, dict) and case.body.get("dry_run") is True
    ends_it = case.method in ("DELETE", "PATCH") and "checkpoint" not in case.path
    ends_it = ends_it or ("/restore/" in case.path and not is_trial)
    is_renamed = case.path == "/api/notebooks/{path}" and case.method == "PUT" and case.body != EXAMPLE
    return path in KEPT and (ends_it or is_renamed)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """What can't be made up: a login form that comes from our page, the id of something deleted."""
    if case.path == "/login":
        case.cookies = {**(case.cookies or {}), "_xsrf": "a"}
        case.headers = {**(case.headers or {}), "X-XSRFToken": "a"}
    if (
        case.path == "/api/history/undelete"
        and case.meta is not None
        and case.meta.generation.mode.is_positive
    ):
        headers = {"Authorization": f"token {os.environ['EVSTORE_SPEC_TOKEN']}"}
        found = requests.get(
            f"{os.environ['EVSTORE_SPEC_URL']}api/history/deleted", headers=headers, timeout=30
        )
        deleted = found.json()["deleted"]
        if deleted and isinstance(case.body, dict):
            case.body["entry"] = deleted[0]["entry"]
