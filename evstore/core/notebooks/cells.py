"""What nbformat does to the cells of a version 4 notebook between disk and client. Pure.

`written` and `read` follow split_lines, rejoin_lines and strip_transient of nbformat/v4/rwbase.py,
`is_trusted` follows NotebookNotary.check_cells of nbformat/sign.py. For cells that are not shaped as
nbformat expects they raise one of ODD.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, cast

Cell = dict[str, Any]

ODD = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What content of an odd shape makes Python raise. What becomes of it is then left to nbformat."""

_BUNDLES = {"execute_result", "display_data"}  # the output types that carry a mime bundle
_RICH = {3: ("pyout", "display_data"), 4: ("execute_result", "display_data")}
_HARMLESS = {
    3: {"output_type", "prompt_number", "metadata"},
    4: {"output_type", "execution_count", "metadata"},
}
_SPLIT = {"application/javascript", "image/svg+xml"}  # split like text/*


def written(cell: Cell) -> Cell:
    """The cell as it goes to disk: text split into lines, no trust. `cell` stays as it is."""
    result = {**cell, "metadata": _without(cell["metadata"], "trusted")}
    if isinstance(source := cell.get("source"), str):
        result["source"] = source.splitlines(keepends=True)
    if "attachments" in cell:
        result["attachments"] = {name: _split(bundle) for name, bundle in cell["attachments"].items()}
    if cell["cell_type"] == "code":
        result["outputs"] = [_written_output(output) for output in cell["outputs"]]
    return result


def _written_output(output: dict[str, Any]) -> dict[str, Any]:
    kind = output["output_type"]
    if kind in _BUNDLES:
        return {**output, "data": _split(output["data"])} if "data" in output else output
    if kind == "stream" and isinstance(text := output["text"], str):
        return {**output, "text": text.splitlines(keepends=True)}
    return output


def _split(bundle: dict[str, Any]) -> dict[str, Any]:
    return {
        mime: value.splitlines(keepends=True)
        if isinstance(value, str) and (mime.startswith("text/") or mime in _SPLIT)
        else value
        for mime, value in bundle.items()
    }


def read(cell: Cell) -> None:
    """Make of a cell from disk, in place, the cell that a client gets: whole text, no trust."""
    if isinstance(source := cell.get("source"), list):
        cell["source"] = "".join(cast("list[str]", source))
    for bundle in cell.get("attachments", {}).values():
        _rejoin(bundle)
    if cell.get("cell_type") == "code":
        for output in cell.get("outputs", []):
            kind = output.get("output_type", "")
            if kind in _BUNDLES:
                _rejoin(output.get("data", {}))
            elif kind and isinstance(text := output.get("text"), list):
                output["text"] = "".join(cast("list[str]", text))
    cell["metadata"].pop("trusted", None)


def _rejoin(bundle: dict[str, Any]) -> None:
    for mime, value in bundle.items():
        is_json = mime == "application/json" or (mime.startswith("application/") and mime.endswith("+json"))
        if not is_json and isinstance(value, list):
            lines = cast("list[Any]", value)
            if all(isinstance(line, str) for line in lines):
                bundle[mime] = "".join(lines)


def is_trusted(cell: Cell, version: int = 4) -> bool:
    """Whether a client called this cell trusted, or no output of it could run anything."""
    if cell["cell_type"] != "code" or cell["metadata"].get("trusted"):
        return True
    rich, harmless = _RICH[version], _HARMLESS[version]
    return not any(output["output_type"] in rich and output.keys() - harmless for output in cell["outputs"])


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    """The code cells of a notebook of version 3 or 4; none for older ones, which can't be trusted."""
    version = notebook["nbformat"]
    sheets = [notebook] if version >= 4 else notebook["worksheets"] if version == 3 else []
    return [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]


def stored_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """A notebook's metadata without what belongs to a session and not into a file."""
    return _without(metadata, "orig_nbformat", "orig_nbformat_minor", "signature")


def _without(metadata: dict[str, Any], *keys: str) -> dict[str, Any]:
    """`metadata` without `keys`, itself when it has none of them."""
    if not isinstance(metadata, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("metadata must be an object")
    if metadata.keys().isdisjoint(keys):
        return metadata
    return {key: value for key, value in metadata.items() if key not in keys}


def minor_of(notebook: dict[str, Any]) -> int:
    minor: object = notebook.get("nbformat_minor", 0)
    if type(minor) is not int:
        raise TypeError("nbformat_minor must be an integer")
    return minor


def with_ids(cells: list[Cell]) -> list[Cell]:
    """The cells with an id each, as nbformat 4.5 asks: a missing or repeated id is replaced.

    nbformat takes a random id. Ours is drawn from the cell's text, so that the same notebook gives
    the same bytes, and a cell keeps its id from save to save, although its client never learnt of it.
    """
    found = [cell.get("id", _NO_ID) for cell in cells]
    taken = set(found)
    if len(taken) == len(cells) and _NO_ID not in taken:
        return cells
    seen: set[object] = {_NO_ID}
    repeats: Counter[str] = Counter()
    result: list[Cell] = []
    for cell, cell_id in zip(cells, found, strict=True):
        if cell_id in seen:
            cell_id = _new_id(cell, taken, repeats)
            taken.add(cell_id)
            cell = {**cell, "id": cell_id}
        seen.add(cell_id)
        result.append(cell)
    return result


_NO_ID = object()


def _new_id(cell: Cell, taken: set[Any], repeats: Counter[str]) -> str:
    """Eight hexadecimal digits that are not taken yet, nbformat's form of an id."""
    source = cell.get("source", "")
    text = "".join(map(str, cast("list[Any]", source))) if isinstance(source, list) else str(source)
    while True:
        seed = f"{repeats[text]} {text}"
        repeats[text] += 1
        new = hashlib.sha256(seed.encode(errors="surrogatepass")).hexdigest()[:8]
        if new not in taken:
            return new
