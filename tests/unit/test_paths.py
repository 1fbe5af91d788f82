"""API paths."""

from __future__ import annotations

import pytest

from evstore.core.paths import ContentPath


@pytest.mark.parametrize(
    ("path", "lineage"), [("", []), ("a", ["a"]), ("a/b c/d", ["a", "a/b c", "a/b c/d"])]
)
def test_lineage(path: str, lineage: list[str]) -> None:
    assert ContentPath(path).lineage == lineage
