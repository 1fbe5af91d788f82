"""The names that the server picks: untitled files and copies, numbered as Jupyter numbers them; and those that it does not list. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

LEAVINGS = (".pyc", ".pyo", "~")  # the endings of what Python and editors leave behind
_COPY_SUFFIX = re.compile(r"-Copy\d*(?=\.|$)")


def untitled(kind: str, extension: str = "") -> tuple[str, str]:
    """The name of a new `notebook`, `directory` or `file`, and what stands before its number."""
    if kind == "directory":
        return "Untitled Folder", " "
    if kind == "notebook":
        return "Untitled.ipynb", ""
    return f"untitled{extension}", ""


def copy_of(name: str) -> str:
    """The name from which copies of `name` are numbered: `a-Copy1.txt` gives `a.txt`.

    `-Copy1.txt` stays as it is: a copy called `.txt` would be hidden, and nobody could reach it.
    """
    base = _COPY_SUFFIX.sub("", name)
    return name if not base or base.startswith(".") else base


def first_free(name: str, taken: Callable[[str], bool], *, insert: str = "") -> str:
    """`name` if it is free, else with `insert` and a number before its extension.

    The extension is all from the first dot on (`a.tar.gz`), but for notebooks `.ipynb` alone.
    """
    base, dot, extension = name.rpartition(".") if name.endswith(".ipynb") else name.partition(".")
    for number in itertools.count():
        candidate = f"{base}{insert}{number}{dot}{extension}" if number else name
        if not taken(candidate):
            return candidate
    raise AssertionError  # count() never ends


def is_leaving(name: str) -> bool:
    """Whether a name is that of something that Python or an editor leaves behind, and makes again."""
    return name == "__pycache__" or name.endswith(LEAVINGS)


def unlisted(name: str) -> bool:
    """Whether a name is left out of listings, as Jupyter does."""
    return name.startswith(".") or is_leaving(name)
