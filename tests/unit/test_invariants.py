"""DESIGN.md's invariants: tests cite each of them by its number, and no number that is none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CITED = re.compile(r"\b[Ii]nvariant (\d+)\b")
WITH_DOCSTRING = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)


def numbers() -> list[int]:
    """Those of the list in DESIGN.md, in its order."""
    text = (ROOT / "DESIGN.md").read_text()
    section = text.partition("\n## Invariants\n")[2].partition("\n## ")[0]
    return [int(number) for number in re.findall(r"^(\d+)\. \*\*", section, re.MULTILINE)]


def citations() -> Iterator[tuple[int, str]]:
    """The numbers that stand in docstrings of tests and of files of tests, and where."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, WITH_DOCSTRING) and (said := ast.get_docstring(node)):
                for number in CITED.findall(said):
                    yield int(number), f"{file.relative_to(ROOT)}: {getattr(node, 'name', '')}"


def test_they_are_numbered_from_one() -> None:
    assert numbers() == list(range(1, len(numbers()) + 1)) != []


def test_each_is_cited_by_a_test() -> None:
    assert set(numbers()) - {number for number, _ in citations()} == set()


def test_no_test_cites_one_that_is_not_there() -> None:
    assert [(number, where) for number, where in citations() if number not in numbers()] == []
