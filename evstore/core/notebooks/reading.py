"""What is stored -> what a client reads."""

from __future__ import annotations

from typing import Any

from evstore.core.errors import Invalid
from evstore.core.notebooks import library
from evstore.core.notebooks.cells import ODD, code_cells, minor_of, read, stored_metadata, with_ids
from evstore.core.notebooks.text import compact, parse


def to_json(body: bytes, *, trusted: bool) -> tuple[bytes, str | None]:
    """The `content` of a notebook's model as JSON, and the model's `message` if the notebook is not valid.

    As jupyter_server reads it: upgraded to version 4, text in one piece, every code cell's
    `metadata.trusted` set to `trusted`. NaN and infinities, which no client could read,
    become null. Raises Invalid when it can't be read as a notebook.
    """
    try:
        content = parse(body)
        if _read(content):
            _mark(content, trusted=trusted)
            return compact(content), None
    except ODD:
        pass  # nbformat knows whether and how this can be read
    return _by_nbformat(body, trusted=trusted)


def _read(content: Any) -> bool:
    """Make of a version 4 notebook from disk, in place, what clients read; False when it is not valid."""
    if type(content["nbformat"]) is not int or content["nbformat"] != 4:
        return False
    for cell in content["cells"]:
        read(cell)
    minor = minor_of(content)
    if minor >= 5:
        content["cells"] = with_ids(content["cells"])
    content["metadata"] = stored_metadata(content["metadata"])
    return library.is_valid(content, minor)


def _by_nbformat(body: bytes, *, trusted: bool) -> tuple[bytes, str | None]:
    try:
        nb = library.read(body.decode())
        _settle_ids(nb)
        flaw = library.why_invalid(nb)
        _mark(nb, trusted=trusted)
        return compact(nb), flaw.message if flaw else None
    except RecursionError:
        raise Invalid("Unreadable Notebook: it is nested too deeply.") from None
    except Exception as error:  # nbformat raises whatever Python does where it did not expect a thing
        raise Invalid(f"Unreadable Notebook: {type(error).__name__}: {error}") from error


def _settle_ids(nb: library.Node) -> None:
    """Give the cells ids that are the same whenever the notebook is read, where nbformat's are random."""
    if "orig_nbformat" in nb["metadata"]:  # which says that nbformat has upgraded it just now
        for cell in nb["cells"]:
            cell.pop("id", None)
    if nb.get("nbformat_minor", 0) >= 5:
        for cell, named in zip(nb["cells"], with_ids(nb["cells"]), strict=True):
            cell["id"] = named["id"]


def _mark(content: dict[str, Any], *, trusted: bool) -> None:
    for cell in code_cells(content):
        cell["metadata"]["trusted"] = trusted
