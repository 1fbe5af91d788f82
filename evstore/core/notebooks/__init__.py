"""Notebooks: what a client sends, the bytes on disk, what a client reads. Pure.

The bytes are those that nbformat writes, so that git, nbdime and every other Jupyter find the
file they would have written themselves. nbformat does a notebook as a whole, each time; most
saves change one cell. So `canonical` remembers in a CellCache what became of each cell: its
bytes, its chunks with their digests, and that it is valid.

Where this package can't be sure to do what nbformat does, nbformat itself does it: versions 1 to 3,
cells of odd shapes, and every notebook that is not valid.

    saving.py   content -> Canonical        reading.py   body -> JSON for clients
    cells.py    what becomes of one cell    cache.py     what became of it, remembered
    text.py     JSON text                   library.py   the one place that calls nbformat
    versions.py the forms of older servers  outputs.py  a kernel's messages -> a cell's outputs
"""

from evstore.core.notebooks.cache import CellCache, Chunk, Piece
from evstore.core.notebooks.library import empty
from evstore.core.notebooks.outputs import Document, Entry, Output, merged, outputs
from evstore.core.notebooks.reading import to_json
from evstore.core.notebooks.saving import Canonical, canonical
from evstore.core.notebooks.text import compact, parse

__all__ = [
    "Canonical",
    "CellCache",
    "Chunk",
    "Document",
    "Entry",
    "Output",
    "Piece",
    "canonical",
    "compact",
    "empty",
    "merged",
    "outputs",
    "parse",
    "to_json",
]
