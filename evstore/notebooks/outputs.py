"""Outputs in the document: from a kernel's messages, and into the cell that they belong to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from evstore.errors import Invalid
from evstore.notebooks import library
from evstore.notebooks.cells import ODD, Cell, minor_of, with_ids
from evstore.notebooks.text import parse

Output = dict[str, Any]
Entry = tuple[str, dict[str, Any]]
"""A message of type stream, display_data, execute_result or error: its type and its content."""


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """The same with each run of text on one stream in one piece, as Jupyter's front ends merge it.

    Carriage returns and backspaces stay: what they do is shown, not stored.
    """
    runs: list[tuple[str, Any]] = []
    of = None  # the stream whose run is the last
    for msg_type, content in entries:
        if msg_type != "stream":
            runs.append((msg_type, content))
            of = None
            continue
        if not isinstance(content, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - a kernel says it
            continue
        name, text = content.get("name"), content.get("text")
        if not isinstance(name, str) or not isinstance(text, str):
            continue
        if name != of:
            runs.append(("stream", (name, [])))
            of = name
        runs[-1][1][1].append(text)
    return [
        (msg_type, {"name": content[0], "text": "".join(content[1])} if msg_type == "stream" else content)
        for msg_type, content in runs
    ]


def outputs(entries: Iterable[Entry]) -> list[Output]:
    """What a cell that has received these messages holds. What nbformat does not take is left out."""
    made = (library.output(msg_type, content) for msg_type, content in merged(entries))
    return [output for output in made if output is not None]


def with_outputs(
    body: bytes, cell_id: str, outputs: list[Output], execution_count: int | None
) -> dict[str, Any] | None:
    """The notebook `body` with these outputs in the code cell of that id, as `canonical` takes it.

    None when there is no such cell, or ids are not known there (they are since nbformat 4.5).
    """
    try:
        content = parse(body)
        if content["nbformat"] != 4 or minor_of(content) < 5:
            return None
        cells = [_without_claim(cell) for cell in with_ids(content["cells"])]
        at = next((at for at, cell in enumerate(cells) if cell["id"] == cell_id), None)
        if at is None or cells[at]["cell_type"] != "code":
            return None
        cells[at] = cells[at] | {"outputs": outputs, "execution_count": execution_count}
        return cast("dict[str, Any]", content) | {"cells": cells}
    except (*ODD, Invalid):
        return None


def _without_claim(cell: Cell) -> Cell:
    """The cell without its own word that it is trusted: from a client that is its user's, from a file anybody's."""
    if "trusted" not in cell["metadata"]:
        return cell
    return cell | {"metadata": {key: cell["metadata"][key] for key in cell["metadata"] if key != "trusted"}}
