"""A working day on one notebook, as the contents that a client saves one after the other.

The mix is that of reference/storage.md 2.1: mostly edits of one cell's text, then edits that run
cells again (new images), now and then a cell more or less, everything run again, an output
cleared. The same seed gives the same notebooks (on the same Python: the text of the cells is taken
from its standard library).

    for content in saves("M", 500): ...
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    cells: int
    images: int
    image: int  # bytes of a typical image


SIZES = {
    "XS": Size(7, 0, 0),  # about 10 kB
    "S": Size(40, 5, 36_000),  # 250 kB
    "M": Size(80, 16, 36_000),  # 0.9 MB
    "L": Size(160, 48, 74_000),  # 4.9 MB
}


def saves(size: str, revisions: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """The notebook as it is saved `revisions` times, the first time as it was found.

    Cells that did not change are the same objects; nothing that was yielded changes later.
    """
    author = Author(SIZES[size], random.Random(f"{size} {seed}"))
    for revision in range(revisions):
        if revision:
            author.work()
        yield {
            "cells": list(author.cells),
            "metadata": {
                "kernelspec": {
                    "display_name": "Python 3 (ipykernel)",
                    "language": "python",
                    "name": "python3",
                },
                "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }


class Author:
    """Someone at work on a notebook."""

    def __init__(self, size: Size, rng: random.Random) -> None:
        self._size = size
        self._rng = rng
        self._lines = _library()
        self._count = 0
        with_image = set(rng.sample(range(size.cells), size.images))
        self.cells = [self._new_cell(image=index in with_image) for index in range(size.cells)]

    def work(self) -> None:
        """One thing that happens between two saves."""
        what = self._rng.choices(
            [self._edit, self._edit_and_run, self._more_or_less, self._run_all, self._clear],
            [62, 29, 6, 2.5, 1],
        )[0]
        what()

    def _edit(self) -> None:
        at = self._rng.randrange(len(self.cells))
        lines = self.cells[at]["source"].splitlines(keepends=True)
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            place = self._rng.randrange(len(lines) + 1)
            lines[place : place + self._rng.randrange(2)] = self._text(1).splitlines(keepends=True)
        self.cells[at] = {**self.cells[at], "source": "".join(lines)}

    def _edit_and_run(self) -> None:
        self._edit()
        code = [at for at, cell in enumerate(self.cells) if cell["cell_type"] == "code"]
        for at in self._rng.sample(code, self._rng.randint(1, 3)):
            self.cells[at] = self._run(self.cells[at], changed=True)

    def _more_or_less(self) -> None:
        at = self._rng.randrange(len(self.cells))
        if self._rng.random() < 0.4 and len(self.cells) > self._size.cells:
            del self.cells[at]
        else:
            self.cells.insert(at, self._new_cell(image=False))

    def _run_all(self) -> None:
        for at, cell in enumerate(self.cells):
            if cell["cell_type"] == "code":
                self.cells[at] = self._run(cell, changed=self._rng.random() < 0.3)

    def _clear(self) -> None:
        at = self._rng.randrange(len(self.cells))
        if self.cells[at]["cell_type"] == "code":
            self.cells[at] = {**self.cells[at], "outputs": [], "execution_count": None}

    def _new_cell(self, *, image: bool) -> Cell:
        cell: Cell = {
            "cell_type": "code",
            "id": self._rng.randbytes(4).hex(),
            "metadata": {},
            "source": self._text(self._rng.randint(2, 30)).rstrip("\n"),
        }
        if not image and self._rng.random() < 0.3:
            return {**cell, "cell_type": "markdown"}
        outputs = [self._image()] if image else []
        kind = self._rng.random()
        if kind < 0.3:
            outputs.append(self._stream())
        elif kind < 0.5:
            outputs.append(self._table())
        elif kind < 0.55:
            outputs.append(self._error())
        return self._run({**cell, "outputs": outputs, "execution_count": None}, changed=False)

    def _run(self, cell: Cell, *, changed: bool) -> Cell:
        """The cell after running it: a new count, and with `changed` other outputs of the same kinds."""
        self._count += 1
        make = {
            "stream": self._stream,
            "execute_result": self._table,
            "error": self._error,
            "display_data": self._image,
        }
        outputs: list[Cell] = [
            make[output["output_type"]]() if changed else output for output in cell["outputs"]
        ]
        result = {"execution_count": self._count}
        outputs = [
            {**each, **result} if each["output_type"] == "execute_result" else each for each in outputs
        ]
        return {**cell, "outputs": outputs, "execution_count": self._count}

    def _text(self, lines: int) -> str:
        begin = self._rng.randrange(len(self._lines) - lines)
        return "".join(self._lines[begin : begin + lines])

    def _stream(self) -> Cell:
        return {"name": "stdout", "output_type": "stream", "text": self._text(self._rng.randint(1, 60))}

    def _error(self) -> Cell:
        traceback = ["\x1b[0;31m" + line for line in self._text(12).splitlines()]
        return {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": traceback}

    def _image(self) -> Cell:
        png = self._rng.randbytes(int(self._size.image * self._rng.uniform(0.5, 1.5)))
        data = {
            "image/png": base64.b64encode(png).decode() + "\n",
            "text/plain": "<Figure size 640x480 with 1 Axes>",
        }
        return {"data": data, "metadata": {}, "output_type": "display_data"}

    def _table(self) -> Cell:
        numbers = [
            [f"{self._rng.gauss(0, 1):.6f}" for _ in range(6)] for _ in range(self._rng.randint(5, 20))
        ]
        rows = "\n".join(
            f"    <tr>\n      <th>{at}</th>\n" + "".join(f"      <td>{n}</td>\n" for n in row) + "    </tr>"
            for at, row in enumerate(numbers)
        )
        html = f'<div>\n<table border="1" class="dataframe">\n  <tbody>\n{rows}\n  </tbody>\n</table>\n</div>'
        plain = "\n".join(f"{at:3d} " + " ".join(row) for at, row in enumerate(numbers))
        return {
            "data": {"text/html": html, "text/plain": plain},
            "execution_count": None,
            "metadata": {},
            "output_type": "execute_result",
        }


def _library() -> list[str]:
    """Some 20,000 lines of Python that every installation has."""
    modules = ("argparse", "ast", "datetime", "difflib", "inspect", "pathlib", "socket", "typing", "tarfile")
    folder = Path(random.__file__).parent
    lines = [
        line for name in modules for line in (folder / f"{name}.py").read_text().splitlines(keepends=True)
    ]
    return [line for line in lines if line.strip()]
