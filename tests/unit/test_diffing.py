"""Diffs of notebooks with many cells: as right as nbdime's own, and not quadratic in what is equal."""

from __future__ import annotations

import random
from typing import Any

import nbdime  # pyright: ignore[reportMissingTypeStubs]
import nbformat  # pyright: ignore[reportMissingTypeStubs]
import orjson
import pytest

from evstore.core import diffing


def cell(number: int, source: str = "") -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": f"c{number}",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": source or f"x = {number}\nprint(x)\n",
    }


def notebook(cells: list[dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def patched(old: dict[str, Any], new: dict[str, Any]) -> Any:
    steps = diffing.diff_notebooks(orjson.dumps(old), orjson.dumps(new))
    found: Any = nbdime.patch(nbformat.from_dict(old), steps)  # pyright: ignore
    return orjson.loads(orjson.dumps(found))


@pytest.mark.parametrize("seed", range(8))
def test_a_diff_of_many_cells_leads_from_one_to_the_other(seed: int) -> None:
    chance = random.Random(seed)
    old = [cell(number) for number in range(diffing.MANY + 20)]
    new = list(old)
    for number in range(chance.randint(1, 12)):
        place = chance.randrange(len(new))
        match chance.choice(("change", "insert", "delete", "move")):
            case "change":
                new[place] = new[place] | {"source": f"changed {number}"}
            case "insert":
                new[place:place] = [cell(1000 + 10 * number + more) for more in range(chance.randint(1, 3))]
            case "delete":
                del new[place]
            case _:
                new.append(new.pop(place))
    before, after = notebook(old, a=1), notebook(new, a=seed % 2, b="b")
    assert patched(before, after) == after
    assert patched(after, before) == before


def test_equal_notebooks_of_many_cells_have_no_diff() -> None:
    same = orjson.dumps(notebook([cell(number) for number in range(diffing.MANY + 1)]))
    assert diffing.diff_notebooks(same, same) == []


def test_a_change_among_ten_thousand_cells_is_found() -> None:
    old = [cell(number) for number in range(10_000)]
    new = [*old[:10], cell(99_999), *old[10:5000], cell(5000, "changed"), *old[5001:]]
    assert patched(notebook(old), notebook(new)) == notebook(new)
    told = diffing.notebook_diff_as_text(
        orjson.dumps(notebook(old)), orjson.dumps(notebook(new)), color=False
    )
    assert "x = 99999" in told
    assert "changed" in told
