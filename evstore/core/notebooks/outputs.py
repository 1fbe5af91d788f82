"""Outputs in the document: from a kernel's messages, and into the cell that they belong to. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, cast

from evstore.core.errors import Invalid
from evstore.core.notebooks import library
from evstore.core.notebooks.cells import ODD, Cell, minor_of, read, with_ids
from evstore.core.notebooks.text import compact, parse

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


class Document:
    """A notebook whose code cells can be found by their ids, and given other outputs."""

    def __init__(self, body: bytes) -> None:
        """`body` may be anything. Ids are known since nbformat 4.5: in what is older nothing is found."""
        self._content: dict[str, Any] = {}
        self._cells: list[Cell] = []
        self._places: dict[str, int] = {}
        with contextlib.suppress(*ODD, Invalid):
            content = parse(body)
            if content["nbformat"] == 4 and minor_of(content) >= 5:
                cells = [_without_claim(cell) for cell in with_ids(content["cells"])]
                self._places = {
                    cell["id"]: at for at, cell in enumerate(cells) if cell["cell_type"] == "code"
                }
                self._content, self._cells = content, cells

    def __contains__(self, cell_id: str) -> bool:
        return cell_id in self._places

    def source(self, cell_id: str) -> str:
        """What the cell says; empty for what is no text."""
        source: object = self._cells[self._places[cell_id]].get("source")
        if isinstance(source, list):
            source = "".join(one for one in cast("list[object]", source) if isinstance(one, str))
        return source if isinstance(source, str) else ""

    def has_begun(self, cell_id: str, outputs: list[Output]) -> bool:
        """Whether the cell shows the beginning of these outputs, or all. A cell that shows nothing does not."""
        cell: Cell = {
            "cell_type": "code",
            "metadata": {},
            "outputs": self._cells[self._places[cell_id]]["outputs"],
        }
        try:
            stored = parse(compact(cell))
            read(stored)
            *whole, last = stored["outputs"]
            *_, then = outputs[: len(whole) + 1]
        except (*ODD, Invalid):
            return False
        if len(outputs) <= len(whole) or whole != outputs[: len(whole)]:
            return False
        if last.get("output_type") != "stream" or then["output_type"] != "stream":
            return last == then
        return last["name"] == then["name"] and then["text"].startswith(last["text"])

    def put(self, cell_id: str, outputs: list[Output], execution_count: int | None) -> None:
        """Give the cell these outputs."""
        at = self._places[cell_id]
        self._cells[at] = self._cells[at] | {"outputs": outputs, "execution_count": execution_count}

    @property
    def content(self) -> dict[str, Any]:
        """The notebook as `canonical` takes it."""
        return self._content | {"cells": self._cells}


def _without_claim(cell: Cell) -> Cell:
    """The cell without its own word that it is trusted: from a client that is its user's, from a file anybody's."""
    if "trusted" not in cell["metadata"]:
        return cell
    return cell | {"metadata": {key: cell["metadata"][key] for key in cell["metadata"] if key != "trusted"}}
