"""docs/surface.md against the route table and the tests: nothing is served without a row and a proof."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from evstore.http.app import ROUTES

ROOT = Path(__file__).parents[2]
# How many rows each table of the documents has that evstore is built to
TABLES = {"A": 16, "B": 54, "C": 21, "L1.": 12, "L2.": 18, "L3.": 11, "L4.": 20, "L5.": 22}
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    id: str
    routes: tuple[str, ...]
    tests: tuple[str, ...]


def rows() -> Iterator[Row]:
    for line in (ROOT / "docs/surface.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and re.fullmatch(r"[A-Z]\d[\d.]*", cells[0]):
            yield Row(cells[0], tuple(CODE.findall(cells[2])), tuple(CODE.findall(cells[4])))


def plain(path: str) -> str:
    """A route's path without the patterns of its parameters: `/a{path:(?s:/.*)?}` is `/a{path}`."""
    return re.sub(r"\{(\w+):(?:[^{}]|\{[^{}]*\})*\}", r"{\1}", path)


@cache
def names_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")
    )


def is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / file
    return path.is_file() and (name in names_in(path) if name else bool(names_in(path)))


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.id)
def test_every_row_names_tests_that_exist(row: Row):
    assert row.tests, f"{row.id} has no test"
    assert [test for test in row.tests if not is_there(test)] == []


def test_no_row_of_the_documents_is_left_out_and_none_stands_twice():
    ids = [row.id for row in rows()]
    expected = {f"{table}{number}" for table, count in TABLES.items() for number in range(1, count + 1)}
    assert expected - set(ids) == set()
    assert len(ids) == len(set(ids))


def test_every_route_stands_in_a_row_and_every_row_names_routes_that_exist():
    """Invariant 15."""
    served = {f"{route.method} {plain(route.path)}" for route in ROUTES}
    named = {route for row in rows() for route in row.routes}
    assert served - named == set()
    assert named - served == set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api", "/api"),
        (
            "/api/contents{path:(?s:/.*)?}/checkpoints/{checkpoint:[^/]+}",
            "/api/contents{path}/checkpoints/{checkpoint}",
        ),
        ("/{id:[0-9a-f]{8}-[0-9a-f]{4}}/copy", "/{id}/copy"),
        ("/lab/{rest:.*}", "/lab/{rest}"),
    ],
)
def test_patterns_are_left_out(path: str, expected: str):
    assert plain(path) == expected
