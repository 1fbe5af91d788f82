"""The one place that calls nbformat, which has no types: each function gives a typed answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from evstore.core.notebooks.quick_import import import_quickly

Node = Any
"""A NotebookNode: nbformat's dict whose keys are attributes too."""


@cache
def _nbformat() -> Any:
    """Imported when it is first needed: it takes 80 ms, and most commands need it never."""
    return import_quickly("nbformat")


@dataclass(frozen=True, slots=True)
class Flaw:
    """What makes a notebook not valid."""

    _error: Any

    @property
    def message(self) -> str:
        """What jupyter_server puts into the model's `message` (ContentsManager.validate_notebook_model).

        It shows the offending part as that is now, not as it was when the flaw was found.
        """
        instance = json.dumps(self._error.instance, indent=1, default=lambda _: "<UNKNOWN>")
        return f"Notebook validation failed: {self._error}:\n{instance}"


def node(content: dict[str, Any]) -> Node:
    return _nbformat().from_dict(content)


def read(text: str) -> Node:
    """The notebook in version 4. Raises whatever nbformat does when it can't be."""
    return _nbformat().convert(_nbformat().reader.reads(text), 4)


def read_3(text: str) -> Node:
    """A notebook of version 3, as it is."""
    return _nbformat().v3.reads_json(text)


def downgrade(content: dict[str, Any]) -> Node:
    """A notebook of version 4 in version 3. Raises whatever nbformat does when it can't be.

    As nbformat.convert, which would log an error for each notebook that is not valid.
    """
    nb = _nbformat().from_dict(content)
    cells = [_nbformat().v4.convert.downgrade_cell(cell) for cell in nb.pop("cells")]
    old, sheet = _nbformat().v3, _nbformat().v3.new_worksheet(cells=cells)
    nb.update(nbformat=old.nbformat, nbformat_minor=old.nbformat_minor, worksheets=[sheet])
    nb["metadata"].setdefault("name", "")
    return nb


def write_py(nb: Node) -> str:
    """A notebook of version 3 as a Python script with its cells marked."""
    return _nbformat().v3.writes_py(nb)


def read_py(text: str) -> dict[str, Any]:
    """The notebook of version 4 that such a script stands for."""
    # nbformat forgets a last cell that is no code; an empty one after it is left out
    return _nbformat().convert(_nbformat().v3.reads_py(f"{text}\n# <codecell>\n"), 4)


def write(nb: Node) -> str:
    """The text of the file, with its last line feed, in the notebook's own version."""
    return _nbformat().versions[nb["nbformat"]].writes_json(nb) + "\n"


def empty() -> bytes:
    """The body of a new notebook."""
    return write(_nbformat().v4.new_notebook()).encode()


def output(msg_type: str, content: dict[str, Any]) -> dict[str, Any] | None:
    """The output that a kernel's message makes, None when it makes no valid one."""
    try:
        return _nbformat().v4.output_from_msg({"header": {"msg_type": msg_type}, "content": content})
    except (_nbformat().ValidationError, LookupError, TypeError, ValueError):
        return None


def is_valid(notebook: dict[str, Any], minor: int) -> bool:
    """Whether the schema of nbformat 4.`minor` holds. That ids are unique is no part of it."""
    validator = _nbformat().validator.get_validator(4, minor)
    try:
        return validator is not None and validator.validate(notebook) is None
    except _nbformat().ValidationError:
        return False


def why_invalid(nb: Node) -> Flaw | None:
    """What is wrong with a notebook of any version, None when it is valid."""
    try:
        _nbformat().validate(nb)
    except _nbformat().ValidationError as error:
        return Flaw(error)
    return None
