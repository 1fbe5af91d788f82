"""Where a body is cut into chunks, so that two versions of a file share most of them. Pure.

Notebooks are cut at the lines that nbformat's layout (indent 1, sorted keys) begins a cell or an
output with, everything else by FastCDC: a cut there depends on a few bytes around it and on where
the chunk began, so an insertion moves the cuts near it and no others.

A cut stands *before* the comma that separates two cells or two outputs. Appending a cell then
leaves all chunks before it as they were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol, cast

from fastcdc import fastcdc as _untyped_fastcdc  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from evstore.core.units import MIB

LIMIT = 64 * 1024
"""Bytes; a piece between two boundaries of a notebook that is larger is cut further by FastCDC."""

_MIN, _AVERAGE, _MAX = 2 * 1024, 8 * 1024, 64 * 1024
_STREAM_BUFFER = MIB  # bytes gathered before a stream is cut

# Matched on bytes alone, with no idea of JSON: a cell's chunks are the same whether it is cut
# alone or in its notebook. In order: a cell begins, the cells end, an output begins, the
# outputs end (a list of outputs is followed by the cell's source, hence the comma).
_BOUNDARY = re.compile(rb"\n(?:  \{| \]| {4}\{| {3}\],)")
_COMMA = ord(",")

Bytes = bytes | memoryview


class _Chunk(Protocol):
    @property
    def length(self) -> int: ...


# The one place where fastcdc is called: it has no types, and calls its parameters by position.
_fastcdc = cast("Callable[[Bytes, int, int, int], Iterator[_Chunk]]", _untyped_fastcdc)


def cut(body: bytes, *, notebook: bool) -> list[Bytes]:
    """The chunks of `body` in order; joined they are `body`, and none is empty.

    With `notebook` the cuts follow nbformat's layout. Any bytes are accepted: what is not laid out
    so is one large piece, which FastCDC cuts.
    """
    if not notebook:
        return list(_cut_by_content(memoryview(body)))
    view = memoryview(body)
    chunks: list[Bytes] = []
    begin = 0
    for end in (*boundaries(body), len(body)):
        if end - begin > LIMIT:
            chunks.extend(_cut_by_content(view[begin:end]))
        elif end > begin:
            chunks.append(view[begin:end])
        begin = end
    return chunks


def boundaries(body: bytes) -> Iterator[int]:
    """Where nbformat's layout begins a cell or an output, or ends a list of them; never 0."""
    for match in _BOUNDARY.finditer(body):
        at = match.start()
        if at and body[at - 1] == _COMMA:
            at -= 1
        if at:
            yield at


def cut_stream(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks that `cut(..., notebook=False)` finds in the whole, wherever the blocks end.

    Holds about 1 MiB and the block at hand.
    """
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        if size >= _STREAM_BUFFER:
            rest = yield from _all_but_the_last(b"".join(waiting))
            waiting, size = [rest], len(rest)
    yield from map(bytes, _cut_by_content(memoryview(b"".join(waiting))))


def _all_but_the_last(buffer: bytes) -> Generator[bytes, None, bytes]:
    """Yield the chunks that no later byte can move, and return the bytes behind them.

    A chunk that begins more than _MAX bytes before the end is cut as it would be in the whole.
    """
    view = memoryview(buffer)
    begin = 0
    for chunk in _cut_by_content(view):
        if len(view) - begin < _MAX:
            break
        yield bytes(chunk)
        begin += len(chunk)
    return bytes(view[begin:])


def _cut_by_content(view: memoryview) -> Iterator[memoryview]:
    begin = 0
    for chunk in _fastcdc(view, _MIN, _AVERAGE, _MAX):
        yield view[begin : begin + chunk.length]
        begin += chunk.length
