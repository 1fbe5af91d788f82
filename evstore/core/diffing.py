"""What changed between two versions of a file: nbdime's diff for notebooks, a unified diff for text. Pure."""

from __future__ import annotations

import difflib
import io
from typing import Any, cast

import orjson

from evstore.core import notebooks
from evstore.core.errors import Invalid
from evstore.core.notebooks.quick_import import import_quickly


def diff(old: bytes, new: bytes, *, notebook: bool, names: tuple[str, str]) -> dict[str, Any]:
    """`{"format": "nbdime" | "unified" | "binary", "diff": ...}`.

    A notebook that can't be read as one is compared as text; what is not UTF-8 is "binary" and
    its diff is None, or an empty string when nothing changed.
    """
    if notebook:
        try:
            return {"format": "nbdime", "diff": diff_notebooks(old, new)}
        except Invalid:
            pass  # not a notebook after all: compare the text below
    try:
        before, after = old.decode(), new.decode()
    except UnicodeDecodeError:
        return {"format": "binary", "diff": None if old != new else ""}
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), *names, n=3
    )
    return {"format": "unified", "diff": "".join(_terminated(line) for line in lines)}


def _terminated(line: str) -> str:
    """A diff line that ends its line, as git marks a file's missing last newline."""
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


MANY = 100
"""Cells. nbdime compares each with each: 2,000 take it 14 s, 10,000 six minutes."""


def diff_notebooks(old: bytes, new: bytes) -> list[dict[str, Any]]:
    """nbdime's diff of two notebooks, as JSON data. Raises Invalid when one can't be read.

    Of notebooks with MANY cells nbdime gets to see the stretches between the cells that are equal.
    """
    nbdime = import_quickly("nbdime")
    before, after = _node(old), _node(new)
    if max(len(before["cells"]), len(after["cells"])) <= MANY:
        return cast("list[dict[str, Any]]", nbdime.diff_notebooks(before, after))
    changed = _stretches(before["cells"], after["cells"])
    cells: list[dict[str, Any]] = []
    for start, stop, first, last in changed:
        ours = before | {"cells": before["cells"][start:stop]}
        theirs = before | {"cells": after["cells"][first:last]}
        for step in nbdime.diff_notebooks(ours, theirs):
            cells += [one | {"key": one["key"] + start} for one in step["diff"]]
    steps = nbdime.diff_notebooks(before | {"cells": []}, after | {"cells": []})
    if cells:
        steps.append({"op": "patch", "key": "cells", "diff": cells})
    as_nbdime = import_quickly("nbdime.diff_utils").to_diffentry_dicts
    return cast("list[dict[str, Any]]", as_nbdime(sorted(steps, key=lambda step: step["key"])))


def _stretches(before: list[Any], after: list[Any]) -> list[tuple[int, int, int, int]]:
    """Where two lists of cells differ: from and to in the one, from and to in the other."""
    ours, theirs = (
        [orjson.dumps(cell, option=orjson.OPT_SORT_KEYS) for cell in cells] for cells in (before, after)
    )
    matcher = difflib.SequenceMatcher(None, ours, theirs)
    return [(a, b, c, d) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def notebook_diff_as_text(old: bytes, new: bytes, *, color: bool) -> str:
    """nbdime's diff of two notebooks for people, "" when nothing changed. Raises Invalid as `diff_notebooks`."""
    prettyprint = import_quickly("nbdime.prettyprint")
    text = io.StringIO()
    config = prettyprint.PrettyPrintConfig(out=text, use_git=False, use_diff=False, use_color=color)
    if changes := diff_notebooks(old, new):
        prettyprint.pretty_print_diff(_node(old), changes, "", config)
    return text.getvalue()


def _node(body: bytes) -> Any:
    """A notebook as nbformat's object. Raises Invalid."""
    nbformat = import_quickly("nbformat")
    content, _ = notebooks.to_json(body, trusted=False)
    notebook = orjson.loads(content)
    for cell in notebook["cells"]:
        cell["metadata"].pop("trusted", None)  # a reader's mark, not a part of the file
    return nbformat.from_dict(notebook)
