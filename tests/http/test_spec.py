"""/api/spec.yaml: whole, valid, and neither more nor less than the routes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from evstore.http import openapi
from evstore.http.app import ROUTES
from evstore.http.routing import Access
from tests.helpers import Server, StartServer

WHOLE: dict[str, Any] = openapi.document(ROUTES, "/")


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("/api/me", "/api/me"),
        ("/api/contents{path:(?s:/.*)?}", "/api/contents/{path}"),
        (
            "/api/contents{path:(?s:/.*)?}/checkpoints/{checkpoint:[^/]+}",
            "/api/contents/{path}/checkpoints/{checkpoint}",
        ),
        ("/files/{path:(?s:.*)}", "/files/{path}"),
        ("/lab/api/settings{slash:/?}", "/lab/api/settings"),
        ("/api/kernels/{kernel_id}", "/api/kernels/{kernel_id}"),
        (r"/{id:\w{8}-\w{4}}/copy", "/{id}/copy"),
    ],
)
def test_patterns_as_openapi_writes_them(pattern: str, address: str):
    assert openapi.address(pattern) == address


def described() -> set[tuple[str, str]]:
    """Each operation of the files, whether it has a route or not."""
    return {
        (method.upper(), path)
        for _, fragment in openapi.fragments()
        for path, item in fragment.get("paths", {}).items()
        for method in item
        if method in openapi.METHODS
    }


def test_each_route_is_described_and_nothing_besides():
    """Invariant 15."""
    routes = {(route.method, openapi.address(route.path)) for route in ROUTES}
    assert routes - described() == set()
    assert described() - routes == set()


def test_only_methods_that_are_known_here_stand_in_the_files():
    """The comparison would not see others."""
    for area, fragment in openapi.fragments():
        for path, item in fragment.get("paths", {}).items():
            assert set(item) <= {*openapi.METHODS, "parameters"}, (area, path)
        assert set(fragment) <= {"paths", "components"}, area


def test_the_document_is_valid_openapi():
    OPENAPI_31_VALIDATOR.validate(WHOLE)


def test_operations_have_names_of_their_own():
    ids = [
        operation["operationId"]
        for item in WHOLE["paths"].values()
        for key, operation in item.items()
        if key in openapi.METHODS
    ]
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set[str]()
        return found.union(*map(references, part.values()))
    return set[str]().union(*map(references, part)) if isinstance(part, list) else set()


def test_what_is_referred_to_exists():
    for reference in references(WHOLE):
        part: Any = WHOLE
        for name in reference.removeprefix("#/").split("/"):
            assert name in part, reference
            part = part[name]


def test_parameters_of_the_address_are_described():
    for path, item in WHOLE["paths"].items():
        for method in set(item) & set(openapi.METHODS):
            given = [*item.get("parameters", []), *item[method].get("parameters", [])]
            resolved = [
                WHOLE["components"]["parameters"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
                for one in given
            ]
            named = {one["name"] for one in resolved if one["in"] == "path"}
            assert named == set(path.replace("}", "{").split("{")[1::2]), (method, path)


def test_who_needs_no_login_is_said():
    public = {openapi.address(route.path) for route in ROUTES if route.access is Access.PUBLIC}
    said = {
        path
        for path, item in WHOLE["paths"].items()
        if any(operation.get("security") == [] for key, operation in item.items() if key in openapi.METHODS)
    }
    assert said == public


@pytest.mark.parametrize("base", ["/", "/me/"])
async def test_it_is_served_to_the_signed_in(start_server: StartServer, base: str):
    server = await start_server(base_url=base)
    reply = await server.fetch("GET", "/api/spec.yaml")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/x-yaml")
    document = yaml.safe_load(reply.body)
    assert document["servers"] == [{"url": base.rstrip("/") or "/"}]
    assert document == openapi.document(ROUTES, base)
    again = await server.fetch("GET", "/api/spec.yaml")
    assert again.body == reply.body


async def test_strangers_are_sent_to_the_login_page(server: Server):
    reply = await server.fetch("GET", "/api/spec.yaml", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, "/login?next=/api/spec.yaml")
