"""Notebooks in the forms of their time: nbformat 3 (IPython 0.13 to 2), and the `.py` form of IPython's first server. Pure.

nbformat 3 knows worksheets, headings of their own and no cell ids; whatever it has no word for (attachments,
ids, mime types of its own) is lost, so that it is only given to who asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from evstore.core.errors import Invalid
from evstore.core.notebooks import library
from evstore.core.notebooks.cells import ODD, code_cells
from evstore.core.notebooks.reading import to_json
from evstore.core.notebooks.text import compact, parse

T = TypeVar("T")
FORMATS = (3, 4)


def content_json(body: bytes, *, trusted: bool, version: int = 4) -> bytes:
    """The `content` of a stored notebook as JSON, in nbformat `version`. Raises Invalid when it is unreadable."""
    content, _ = to_json(body, trusted=trusted)
    if version == 4:
        return content

    def marked(node: library.Node) -> bytes:
        for cell in code_cells(node):
            cell["metadata"]["trusted"] = trusted
        return compact(node)

    return _in_version_3(body, content, marked)


def file_json(body: bytes, *, version: int | None = None) -> bytes:
    """The notebook's file: as it is, or written in nbformat 3. Raises Invalid when it is unreadable."""
    content, _ = to_json(body, trusted=False)
    if version != 3:
        return body
    # A lone surrogate has no UTF-8 form; its JSON escape is read back as what it was.
    return _in_version_3(body, content, library.write).encode(errors="backslashreplace")


def to_py(body: bytes) -> bytes:
    """The notebook as a Python script with its cells marked. Raises Invalid when it is unreadable."""
    content, _ = to_json(body, trusted=False)
    return _in_version_3(body, content, library.write_py).encode(errors="backslashreplace")


def from_py(script: bytes) -> dict[str, Any]:
    """The notebook, in the present version, that a script with marked cells stands for. Raises Invalid."""
    try:
        return library.read_py(script.decode())
    except UnicodeDecodeError:
        raise Invalid("The script is not UTF-8 text.") from None


def kernel_name(body: bytes) -> str | None:
    """The kernel that a stored notebook says it is for; None when it says nothing."""
    try:
        name: object = parse(body)["metadata"]["kernelspec"]["name"]
    except ODD:
        return None
    return name if isinstance(name, str) and name else None


def empty_for(name: str, spec: dict[str, Any]) -> bytes:
    """The body of a new notebook for the kernel of this name, of which `spec` is the kernel.json."""
    content = parse(library.empty())
    kernelspec = {"name": name} | {key: str(spec.get(key) or name) for key in ("display_name", "language")}
    return library.write(library.node(content | {"metadata": {"kernelspec": kernelspec}})).encode()


def _in_version_3(body: bytes, content: bytes, made: Callable[[library.Node], T]) -> T:
    """What is `made` of a notebook in version 3: of one that is stored so as it is, of others by their content."""
    try:
        is_old = parse(body)["nbformat"] == 3
        return made(library.read_3(body.decode()) if is_old else library.downgrade(parse(content)))
    except Exception as error:  # nbformat raises whatever Python does where it did not expect a thing
        raise Invalid(f"The notebook has no form in nbformat 3: {type(error).__name__}: {error}") from error
