"""What a client sends -> what is stored."""

from __future__ import annotations

import marshal
from dataclasses import dataclass
from reprlib import repr as shown
from typing import Any, cast

from evstore.core.errors import Invalid
from evstore.core.notebooks import library
from evstore.core.notebooks.cache import CellCache, Chunk, Piece
from evstore.core.notebooks.cells import (
    ODD,
    Cell,
    code_cells,
    is_trusted,
    minor_of,
    stored_metadata,
    with_ids,
    written,
)
from evstore.core.notebooks.text import layout


@dataclass(frozen=True, slots=True)
class Canonical:
    """A notebook as it is stored, and what is known about it."""

    body: bytes
    """Exactly what `nbformat.write(nbformat.from_dict(content), file)` puts into the file."""
    chunks: list[Chunk]
    """In order; their data joined is the body, cut as `chunking.cut(body, notebook=True)` cuts it."""
    trusted: bool
    """Whether no output in it can run anything that its user did not run (NotebookNotary.check_cells)."""
    message: str | None
    """For the model's `message`: why the notebook is not valid, None when it is."""


def canonical(content: Any, cache: CellCache | None = None) -> Canonical:
    """The notebook that a client sent (JSON parsed, best by `parse`) as it is stored.

    A notebook that is not valid is written all the same, with a message. `content` is not changed.
    Raises Invalid when nbformat could not write it.
    """
    version = _version(content)
    try:
        if version == 4:
            content = _with_ids(content)
            stored = _from_cells(content, cache or CellCache(limit=0))
            if stored is not None:
                return stored
    except ODD:
        pass  # nbformat knows whether and how it can be written
    return _by_nbformat(content)


def _version(content: Any) -> int:
    if not isinstance(content, dict):
        raise Invalid(f"The content of a notebook must be a JSON object, not {type(content).__name__}.")
    notebook = cast("dict[str, Any]", content)
    if "nbformat" not in notebook:
        raise Invalid("The content is not a notebook: it has no nbformat.")
    version: object = notebook["nbformat"]
    if type(version) is not int or not 1 <= version <= 4:
        raise Invalid(f"Notebooks of nbformat {shown(version)} are unknown here; 4 is the current one.")
    if version == 4 and not isinstance(notebook.get("cells"), list):
        raise Invalid("The content is not a notebook: it needs a list of cells.")
    return version


def _with_ids(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "cells": with_ids(content["cells"])} if minor_of(content) >= 5 else content


def _from_cells(content: dict[str, Any], cache: CellCache) -> Canonical | None:
    """A version 4 notebook put together from its cells, None when it is not valid."""
    minor = minor_of(content)
    pieces = _pieces(content["cells"], minor, cache)
    if pieces is None or not library.is_valid({**content, "cells": []}, minor):
        return None
    text = layout({**content, "metadata": stored_metadata(content["metadata"]), "cells": []}) + "\n"
    if pieces:
        # Nothing that a client wrote looks like this line: in strings line feeds are escaped.
        head, empty, tail = text.partition('\n "cells": []')
        pieces = [Piece.of(head + empty[:-1]), *pieces, Piece.of(f"\n ]{tail}")]
    else:
        pieces = [Piece.of(text)]
    return Canonical(
        body=b"".join([piece.data for piece in pieces]),
        chunks=[chunk for piece in pieces for chunk in piece.chunks],
        trusted=all(piece.trusted for piece in pieces),
        message=None,
    )


def _pieces(cells: list[Cell], minor: int, cache: CellCache) -> list[Piece] | None:
    """The pieces of the cells, with the comma that goes before each; None when a cell is not valid."""
    # Marshal's version 2, unlike later ones, has no back references, so equal cells give equal keys.
    # It tells apart all values that JSON can hold, and takes a tenth of the time of any JSON.
    keys = [marshal.dumps((minor, at == 0, cell), 2) for at, cell in enumerate(cells)]
    pieces = {at: piece for at, key in enumerate(keys) if (piece := cache.get(key))}
    new = [at for at in range(len(cells)) if at not in pieces]
    if new and not library.is_valid(_notebook_of([cells[at] for at in new], minor), minor):
        return None
    for at in new:
        comma = "," if at else ""
        text = layout(written(cells[at]), "\n  ")
        pieces[at] = Piece.of(f"{comma}\n  {text}", trusted=is_trusted(cells[at]))
        cache.put(keys[at], pieces[at])
    return [pieces[at] for at in range(len(cells))]


def _notebook_of(cells: list[Cell], minor: int) -> dict[str, Any]:
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": minor}


def _by_nbformat(content: dict[str, Any]) -> Canonical:
    try:
        nb = library.node(content)
        cells = code_cells(nb)
        trusted = nb["nbformat"] >= 3 and all(is_trusted(cell, nb["nbformat"]) for cell in cells)
        for cell in cells:
            cell["metadata"].pop("trusted", None)  # as the notary does: a message will not show it
        flaw = library.why_invalid(nb)
        piece = Piece.of(library.write(nb))
        message = flaw.message if flaw else None
    except RecursionError:
        raise Invalid("The notebook is nested too deeply.") from None
    except Exception as error:  # nbformat raises whatever Python does where it did not expect a thing
        raise Invalid(f"This can't be written as a notebook: {type(error).__name__}: {error}") from error
    return Canonical(piece.data, list(piece.chunks), trusted, message)
