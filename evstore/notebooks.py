"""Notebooks: what a client sends <-> the bytes on disk <-> what a client reads. Pure.

The bytes are exactly those that nbformat writes, so that git, nbdime and any other Jupyter see
the file they would have written themselves.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, cast

import nbformat as _untyped_nbformat
import orjson

from evstore import chunking
from evstore.chunking import Bytes
from evstore.errors import Invalid

nbformat = cast("Any", _untyped_nbformat)


@dataclass(frozen=True, slots=True)
class Canonical:
    """A notebook as it is stored, and what is known about it."""

    body: bytes
    chunks: list[tuple[bytes, Bytes]]
    trusted: bool
    message: str | None


class CellCache:
    """What is known about cells that were written before."""

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self.limit = limit


def canonical(content: Any, cache: CellCache | None = None) -> Canonical:
    """The notebook as nbformat writes it. Raises Invalid when it can't be written."""
    del cache
    captured: dict[str, Any] = {}
    try:
        nb = nbformat.from_dict(content)
        trusted = _check_cells(nb)
        text: str = nbformat.writes(nb, nbformat.NO_CONVERT, captured)
        body = text.encode() + (b"" if text.endswith("\n") else b"\n")
        message = _message(captured.get("ValidationError"))
    except Exception as error:  # nbformat raises whatever Python raises on what it did not expect
        raise Invalid(f"The content can't be written as a notebook: {error!r}") from error
    chunks = [(hashlib.sha256(chunk).digest(), chunk) for chunk in chunking.cut(body, notebook=True)]
    return Canonical(body, chunks, trusted, message)


def to_json(body: bytes, *, trusted: bool) -> tuple[bytes, str | None]:
    """The content that clients read, as JSON, and the message when it is not valid."""
    captured: dict[str, Any] = {}
    try:
        nb = nbformat.reads(body.decode(), 4, captured)
        for cell in nb["cells"]:
            if cell["cell_type"] == "code":
                cell["metadata"]["trusted"] = trusted
        return orjson.dumps(nb), _message(captured.get("ValidationError"))
    except Exception as error:
        raise Invalid(f"Unreadable Notebook: {error!r}") from error


def empty() -> bytes:
    """The body of a new notebook."""
    return nbformat.writes(nbformat.v4.new_notebook()).encode() + b"\n"


def _message(error: Any) -> str | None:
    if error is None:
        return None
    instance = json.dumps(error.instance, indent=1, default=lambda _: "<UNKNOWN>")
    return f"Notebook validation failed: {error}:\n{instance}"


def _check_cells(nb: Any) -> bool:
    if nb.nbformat < 3:
        return False
    sheets = [nb] if nb.nbformat >= 4 else nb["worksheets"]
    cells = [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
    return False not in {_check_cell(cell, nb.nbformat) for cell in cells}


def _check_cell(cell: Any, version: int) -> bool:
    if cell["metadata"].pop("trusted", False):
        return True
    result, count = ("execute_result", "execution_count") if version >= 4 else ("pyout", "prompt_number")
    return not any(
        output["output_type"] in (result, "display_data") and set(output) - {"output_type", count, "metadata"}
        for output in cell["outputs"]
    )
