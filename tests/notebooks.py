"""Notebooks for tests, made with nbformat."""

from __future__ import annotations

import base64
from typing import Any

from nbformat import v4

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PYTHON = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "nbconvert_exporter": "python",
}


def notebook(*cells: Any, **metadata: Any) -> dict[str, Any]:
    """A notebook of these cells, for Python unless `language_info` says something else."""
    return v4.new_notebook(cells=list(cells), metadata={"language_info": PYTHON} | metadata)


def text_cell(source: str, **more: Any) -> Any:
    return v4.new_markdown_cell(source, **more)


def code_cell(source: str, *outputs: Any) -> Any:
    return v4.new_code_cell(source, outputs=list(outputs))


def printed(text: str) -> Any:
    return v4.new_output("stream", text=text)


def shown(**data: str) -> Any:
    """An output of `text_html`, `image_png` (base64), ..."""
    return v4.new_output("display_data", data={name.replace("_", "/"): value for name, value in data.items()})


def plot() -> Any:
    """An output that is an image."""
    return shown(image_png=base64.b64encode(PNG).decode(), text_plain="<a plot>")


def hanging() -> dict[str, Any]:
    """One that nbconvert makes no HTML of in hours: a regular expression of its runs wild."""
    return notebook(text_cell("![a](" * 100_000))
