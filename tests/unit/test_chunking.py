"""Where bodies are cut: joined they are the body, and an edit moves few cuts."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.core.chunking import LIMIT, cut, cut_stream

NOISE = random.Random(7).randbytes(3_000_000)

# Bytes that are often near what the layout of a notebook looks like.
nearly = st.lists(
    st.sampled_from(
        [b"\n", b"\n  {", b",\n  {", b"\n ]", b"\n    {", b",\n    {", b"\n   ],", b",", b"x" * 70_000, b"{"]
    )
).map(b"".join)


def joined(chunks: list[bytes | memoryview]) -> bytes:
    return b"".join(chunks)


@given(st.binary(max_size=200_000) | nearly, st.booleans())
def test_the_chunks_are_the_body(body: bytes, notebook: bool) -> None:
    chunks = cut(body, notebook=notebook)
    assert joined(chunks) == body
    assert all(chunks), "no chunk is empty"
    assert max(map(len, chunks), default=0) <= LIMIT


@pytest.mark.parametrize("notebook", [True, False])
def test_nothing_has_no_chunks(notebook: bool) -> None:
    assert cut(b"", notebook=notebook) == []
    assert list(cut_stream([])) == []
    assert list(cut_stream([b"", b""])) == []


@given(st.lists(st.integers(0, len(NOISE)), max_size=40))
def test_a_stream_is_cut_like_the_whole_wherever_its_blocks_end(ends: list[int]) -> None:
    places = [0, *sorted(ends), len(NOISE)]
    blocks = (NOISE[begin:end] for begin, end in itertools.pairwise(places))
    assert list(cut_stream(blocks)) == cut(NOISE, notebook=False)


@pytest.mark.parametrize("size", [1, 4096, 65_535, 1_000_000])
def test_a_stream_of_equal_blocks_is_cut_like_the_whole(size: int) -> None:
    body = NOISE[:300_000] + bytes(400_000)  # zeros are cut at the largest size only
    blocks = (body[at : at + size] for at in range(0, len(body), size))
    assert list(cut_stream(blocks)) == cut(body, notebook=False)


def test_a_stream_gives_chunks_before_it_has_ended() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield NOISE[:100_000]

    chunks = cut_stream(endless())
    assert sum(len(next(chunks)) for _ in range(20)) > 0
    assert taken < 20, "what waits to be cut is bounded"


def test_an_insertion_moves_few_cuts() -> None:
    before = {bytes(chunk) for chunk in cut(NOISE, notebook=False)}
    after = cut(NOISE[:1_000_000] + b"inserted" + NOISE[1_000_000:], notebook=False)
    assert sum(bytes(chunk) not in before for chunk in after) <= 3


def laid_out(cells: list[object]) -> bytes:
    notebook = {"cells": cells, "metadata": {"a": [{"b": 1}]}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, indent=1, sort_keys=True) + "\n").encode()


def markdown(text: str) -> object:
    return {"cell_type": "markdown", "id": text, "metadata": {}, "source": [text]}


def code(outputs: int, source: str = "x") -> object:
    found = [{"output_type": "stream", "name": "stdout", "text": [f"{n}\n", "two"]} for n in range(outputs)]
    return {"cell_type": "code", "metadata": {}, "outputs": found, "source": [source, "\n"]}


@pytest.mark.parametrize(
    ("cells", "pieces"),
    [
        ([], 1),
        ([markdown("a")], 3),  # what is before the cells, the cell, what is behind them
        ([markdown("a"), markdown("b")], 4),
        ([code(0)], 3),
        ([code(1)], 5),  # the cell's head, the output, the source
        ([code(3), markdown("a"), code(0)], 9),
    ],
)
def test_a_notebook_is_cut_at_its_cells_and_outputs(cells: list[object], pieces: int) -> None:
    body = laid_out(cells)
    chunks = cut(body, notebook=True)
    assert joined(chunks) == body
    assert len(chunks) == pieces


def test_an_edit_of_a_cell_changes_only_chunks_of_it() -> None:
    cells = [markdown("a"), code(3), markdown("b")]
    before = {bytes(chunk) for chunk in cut(laid_out(cells), notebook=True)}

    def new(cells: list[object]) -> int:
        return sum(bytes(chunk) not in before for chunk in cut(laid_out(cells), notebook=True))

    assert new([markdown("a"), code(3, source="y"), markdown("b")]) == 1
    assert new([*cells, markdown("c")]) == 1, "nothing but the new cell"
    assert new([markdown("a"), markdown("b")]) == 0
    assert new([markdown("a"), code(4), markdown("b")]) == 1, "nothing but the new output"


def test_a_long_output_that_grows_shares_what_it_had() -> None:
    lines = [f"line {n} {'x' * (n % 50)}\n" for n in range(20_000)]

    def body(count: int) -> bytes:
        outputs = [{"output_type": "stream", "name": "stdout", "text": lines[:count]}]
        return laid_out([{"cell_type": "code", "metadata": {}, "outputs": outputs, "source": []}])

    before = {bytes(chunk) for chunk in cut(body(19_000), notebook=True)}
    new = [chunk for chunk in cut(body(20_000), notebook=True) if bytes(chunk) not in before]
    assert sum(map(len, new)) < 150_000 < len(body(20_000)) / 5
