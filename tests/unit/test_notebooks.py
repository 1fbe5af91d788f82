"""Notebooks as jupyter_server and nbformat store and read them, which stand beside ours as peers."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_server.services.contents.filemanager import FileContentsManager
from nbformat.sign import MemorySignatureStore, NotebookNotary
from tornado.web import HTTPError

from evstore.core import chunking
from evstore.core.errors import Invalid
from evstore.core.notebooks import Canonical, CellCache, canonical, empty, parse, to_json
from evstore.core.notebooks.text import layout
from tests.unit.notebook_strategies import notebooks, odd_notebooks, old_notebooks, values

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # nbformat, on ids it has to make

NBFORMAT: Any = {"indent": 1, "sort_keys": True, "ensure_ascii": False, "separators": (",", ": ")}
PEER = settings(max_examples=150, deadline=None)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> FileContentsManager:
    manager = FileContentsManager(root_dir=str(tmp_path_factory.mktemp("peer")))
    manager.notary = NotebookNotary(data_dir="", secret=b"secret", store_factory=MemorySignatureStore)
    manager.log.setLevel(logging.CRITICAL + 1)  # it tells at length about what it refuses
    return manager


def saved_by(peer: FileContentsManager, content: Any) -> Canonical | None:
    """What jupyter_server makes of a save: the bytes on disk, its trust, its message; None for an error."""
    try:
        model = peer.save({"type": "notebook", "content": content}, "a.ipynb")
    except HTTPError:
        return None
    body = Path(peer.root_dir, "a.ipynb").read_bytes()
    trusted = peer.notary.check_cells(nbformat.from_dict(content))
    return Canonical(body, [], trusted, model.get("message"))


def written_by_nbformat(content: Any) -> bytes:
    """The reference itself. jupyter_server refuses a bit more: what it can't sign."""
    file = io.StringIO()
    nbformat.write(nbformat.from_dict(content), file, version=nbformat.NO_CONVERT)
    return file.getvalue().encode()


def read_by(peer: FileContentsManager, body: bytes, trusted: bool) -> tuple[Any, str | None] | None:
    """The content and message of jupyter_server's model, had the notebook been signed or not."""
    captured: dict[str, Any] = {}
    try:
        nb = nbformat.reads(body.decode(), 4, captured)
        peer.notary.mark_cells(nb, trusted)
        model = peer.validate_notebook_model({"content": nb}, captured)
    except Exception:  # the peer raises whatever it likes
        return None
    return json.loads(json.dumps(nb)), model.get("message")


def needs_ids(content: dict[str, Any]) -> bool:
    """Whether the peer would make ids, which it does at random."""
    if not isinstance(content.get("nbformat_minor"), int) or content["nbformat_minor"] < 5:
        return False
    ids = [str(cell["id"]) if "id" in cell else None for cell in content["cells"]]
    return None in ids or len(set(ids)) < len(ids)


def without_ids(body: bytes) -> Any:
    content = json.loads(body)
    for cell in content["cells"]:
        cell.pop("id", None)
    return finite(content)


def finite(value: Any) -> Any:
    """JSON as browsers know it: no NaN, no infinity."""
    if isinstance(value, dict):
        return {key: finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [finite(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(body: bytes, trusted: bool = False) -> tuple[Any, str | None]:
    content, message = to_json(body, trusted=trusted)
    return json.loads(content), message


@PEER
@given(notebooks | old_notebooks)
def test_a_notebook_is_stored_as_jupyter_stores_it(peer: FileContentsManager, content: Any) -> None:
    """Invariant 10."""
    before = copy.deepcopy(content)
    expected = saved_by(peer, content)
    stored = canonical(content)
    assert expected is not None
    assert stored.body == expected.body
    assert stored.trusted == expected.trusted
    assert stored.message == expected.message
    assert repr(content) == repr(before), "the client's content stays as it was"


@settings(max_examples=600, deadline=None)
@given(odd_notebooks())
def test_odd_notebooks_are_stored_or_refused_as_jupyter_does(peer: FileContentsManager, content: Any) -> None:
    expected = saved_by(peer, content)
    try:
        stored = canonical(content)
    except Invalid as refused:
        assert expected is None or content.get("cells") in ({}, ""), "stricter than nbformat"
        assert 20 < len(refused.message) < 2000  # noqa: PT017
        return
    if expected is None:
        assert stored.body == written_by_nbformat(content)
        return
    assert stored.trusted == expected.trusted
    if needs_ids(content):
        assert without_ids(stored.body) == without_ids(expected.body)
        assert (stored.message is None) == (expected.message is None)
    else:
        assert stored.body == expected.body
        # the notary moves it, and the message shows where to
        if "signature" not in repr(content.get("metadata")):
            assert stored.message == expected.message
    orjson.dumps(stored.message)  # it can be sent


@PEER
@given(notebooks | old_notebooks | odd_notebooks(), st.booleans())
def test_a_notebook_is_read_as_jupyter_reads_it(
    peer: FileContentsManager, content: Any, trusted: bool
) -> None:
    body = json.dumps(content).encode()
    expected = read_by(peer, body, trusted)
    if expected is None:
        with pytest.raises(Invalid, match=r"^Unreadable Notebook: "):
            to_json(body, trusted=trusted)
        return
    found, message = read(body, trusted)
    if content.get("nbformat") == 4 and not needs_ids(content):
        assert found == finite(expected[0])
        assert message == expected[1]
    else:
        assert without_ids(json.dumps(found).encode()) == without_ids(json.dumps(expected[0]).encode())
        assert (message is None) == (expected[1] is None)


@PEER
@given(notebooks | old_notebooks | odd_notebooks().filter(lambda content: "cells" in content))
def test_what_was_stored_can_be_read_and_stored_again(content: Any) -> None:
    try:
        stored = canonical(content)
        found, message = read(stored.body)
    except Invalid:
        return
    again = canonical(found)
    assert (again.message is None) == (message is None)
    assert canonical(read(again.body)[0]).body == again.body, "saving what was read is no change"


@given(st.lists(notebooks, min_size=1, max_size=3))
def test_what_a_cache_remembers_changes_nothing(contents: list[Any]) -> None:
    cache = CellCache(limit=20_000)
    for content in [*contents, *contents]:
        assert canonical(content, cache) == canonical(content)


@given(notebooks | old_notebooks)
def test_a_notebook_has_the_chunks_of_its_bytes(content: Any) -> None:
    cache = CellCache()
    for _ in range(2):
        stored = canonical(content, cache)
        chunks = chunking.cut(stored.body, notebook=True)
        assert [data for _, data in stored.chunks] == chunks
        assert [digest for digest, _ in stored.chunks] == [hashlib.sha256(chunk).digest() for chunk in chunks]


def code(source: str = "", **more: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    return {**cell, **more}


def notebook(*cells: Any, minor: int = 5, **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": minor, **more}


def image(size: int) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0K" * (size // 8)}}


def test_large_cells_have_the_chunks_of_their_bytes() -> None:
    cells = [
        code("x = 1", id="a", outputs=[image(200_000), image(10)]),
        code("y\n" * 60_000, id="b"),
        {"cell_type": "markdown", "id": "c", "metadata": {}, "source": "z" * 100_000},
    ]
    stored = canonical({"aaa": "first " * 20_000, **notebook(*cells, minor=6)}, CellCache())
    assert stored.message is None
    assert [data for _, data in stored.chunks] == chunking.cut(stored.body, notebook=True)
    assert max(len(data) for _, data in stored.chunks) <= chunking.LIMIT
    assert len(stored.chunks) > 20


def test_an_unchanged_cell_is_not_cut_again() -> None:
    cache = CellCache()
    same = code("x = 1", id="a", outputs=[image(500_000)])
    before = canonical(notebook(code(id="z"), same), cache)
    after = canonical(notebook(code("new", id="z"), copy.deepcopy(same)), cache)
    known = {id(data) for _, data in before.chunks}
    assert sum(id(data) not in known for _, data in after.chunks) <= 3


def test_a_cache_keeps_to_its_limit_and_forgets_what_was_not_used() -> None:
    cache = CellCache(limit=100_000)
    often = code("often", id="often")
    kept = canonical(notebook(often), cache).chunks[1][1]
    for number in range(200):
        canonical(notebook(often, code("x" * 2_000, id=f"n{number}")), cache)
    assert canonical(notebook(often), cache).chunks[1][1] is kept
    cells, size = [int(word) for word in repr(cache).split() if word.isdigit()][:2]
    assert 5 < cells < 50
    assert 50_000 < size <= 100_000


def test_threads_may_share_a_cache() -> None:
    cache = CellCache(limit=50_000)
    contents = [
        notebook(*(code("x" * 500, id=f"n{(number * step) % 60}") for step in range(1, 20, 2)))
        for number in range(1, 60)
        if number % 2
    ]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda content: canonical(content, cache).body, contents * 10))
    assert found == [canonical(content).body for content in contents] * 10
    cells, size = [int(word) for word in repr(cache).split() if word.isdigit()][:2]
    assert cells > 5
    assert size <= 50_000


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([code("a"), code("b")], [None, None]),
        ([code("a"), code("a"), code("a")], [None, None, None]),
        ([code("a", id="x"), code("b", id="x")], ["x", None]),
        ([code("a", id="x"), code("b"), code("c", id="y")], ["x", None, "y"]),
        ([code("a"), code("b", id="2e7d2c03")], [None, "2e7d2c03"]),
    ],
)
def test_cells_get_ids_and_the_same_ones_each_time(cells: list[Any], expected: list[str | None]) -> None:
    stored = canonical(notebook(*cells))
    ids = [cell["id"] for cell in json.loads(stored.body)["cells"]]
    assert stored.message is None
    assert len(set(ids)) == len(ids)
    assert [found if wanted else None for found, wanted in zip(ids, expected, strict=True)] == expected
    assert canonical(notebook(*copy.deepcopy(cells))).body == stored.body
    on_disk = json.dumps(notebook(*cells)).encode()
    assert [cell["id"] for cell in read(on_disk)[0]["cells"]] == ids


def test_an_id_is_never_one_that_another_cell_has() -> None:
    made = json.loads(canonical(notebook(code("a"))).body)["cells"][0]["id"]
    stored = canonical(notebook(code("a"), code("b", id=made)))
    assert [cell["id"] == made for cell in json.loads(stored.body)["cells"]] == [False, True]


def test_an_old_notebook_gets_the_same_ids_each_time_it_is_read() -> None:
    cell = {"cell_type": "code", "metadata": {}, "input": "1", "language": "python", "outputs": []}
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [{"cells": [cell, cell]}],
    }
    body = json.dumps(old).encode()
    assert to_json(body, trusted=True) == to_json(body, trusted=True)


def test_a_cell_without_ids_in_the_past_has_none_now() -> None:
    stored = canonical(notebook(code("a"), minor=4))
    assert "id" not in json.loads(stored.body)["cells"][0]
    assert "id" not in read(stored.body)[0]["cells"][0]


RICH = {"output_type": "execute_result", "metadata": {}, "data": {"text/html": "<b>"}, "execution_count": 1}
PLAIN = {"output_type": "stream", "name": "stdout", "text": "a"}


@pytest.mark.parametrize(
    ("cells", "trusted"),
    [
        ([], True),
        ([code(outputs=[PLAIN])], True),
        ([code(outputs=[PLAIN, RICH])], False),
        ([code(outputs=[RICH], metadata={"trusted": True})], True),
        ([code(outputs=[RICH], metadata={"trusted": False})], False),
        ([code(outputs=[RICH], metadata={"trusted": True}), code(outputs=[RICH])], False),
    ],
)
def test_trust(cells: list[Any], trusted: bool) -> None:
    cells = [{**cell, "id": f"n{at}"} for at, cell in enumerate(cells)]
    stored = canonical(notebook(*cells))
    assert stored.trusted is trusted
    assert b"trusted" not in stored.body
    for answer in (True, False):
        content, _ = read(stored.body, trusted=answer)
        assert [cell["metadata"] for cell in content["cells"]] == [{"trusted": answer}] * len(cells)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "must be a JSON object, not list"),
        (None, "must be a JSON object, not NoneType"),
        ({}, "it has no nbformat"),
        ({"nbformat": "4", "cells": []}, "nbformat '4' are unknown"),
        ({"nbformat": 5, "cells": []}, "nbformat 5 are unknown"),
        ({"nbformat": True, "cells": []}, "nbformat True are unknown"),
        ({"nbformat": 4}, "it needs a list of cells"),
        ({"nbformat": 4, "cells": {}}, "it needs a list of cells"),
        ({"nbformat": 4, "cells": [1], "metadata": {}}, "can't be written as a notebook"),
        ({"nbformat": 4, "cells": [], "metadata": []}, "can't be written as a notebook"),
        (
            {"nbformat": 4, "nbformat_minor": "5", "cells": [], "metadata": {}},
            "can't be written as a notebook",
        ),
        (notebook(code(outputs=5, id="a")), "can't be written as a notebook"),
    ],
)
def test_what_is_no_notebook_is_refused_with_a_sentence(content: Any, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        canonical(content)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"nbformat": 9}',
        b"[" * 100_000,
    ],
)
def test_what_can_not_be_read_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(Invalid, match=r"^Unreadable Notebook: .{10,300}$"):
        to_json(body, trusted=True)


@pytest.mark.parametrize("where", ["metadata", "cell", "source"])
@pytest.mark.parametrize("depth", [50, 200, 300, 480, 800, 5_000, 200_000])
def test_deep_content_is_stored_and_read_or_refused(depth: int, where: str) -> None:
    deep: Any = "x"
    for level in range(depth):
        deep = [deep] if level % 2 else {"a": deep}
    content = notebook(code(id="a"))
    if where == "metadata":
        content["metadata"] = {"deep": deep}
    else:
        content["cells"][0]["metadata" if where == "cell" else "source"] = {"deep": deep}
    try:
        stored = canonical(content)
    except Invalid as refused:
        assert depth > 200
        assert "nested too deeply" in refused.message  # noqa: PT017
        return
    assert read(stored.body)[0]["nbformat"] == 4


def test_a_lone_surrogate_is_kept_as_its_escape() -> None:
    content = notebook(code("half of \ud83d", id="a"))
    stored = canonical(content)
    assert rb'"half of \ud83d"' in stored.body
    assert read(stored.body)[0]["cells"][0]["source"] == "half of \ud83d"
    assert canonical(read(stored.body)[0]).body == stored.body


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ('[1, {"a": [18446744073709551616]}]', [1, {"a": [18446744073709551616]}]),
        ("-9223372036854775809", -9223372036854775809),
        ("1e20", 1e20),
        ('"\\ud800"', "\ud800"),
        ("[1e400]", [math.inf]),
    ],
)
def test_json_is_parsed_exactly(text: str, value: Any) -> None:
    assert repr(parse(text.encode())) == repr(value)


@pytest.mark.parametrize("length", [10, 300, 3_000])
def test_every_character_is_laid_out_as_json_does(length: int) -> None:
    for begin in range(0, 0x3000, length):
        text = "".join(map(chr, range(begin, begin + length)))
        assert layout({text: [text, {"a": text}]}) == json.dumps({text: [text, {"a": text}]}, **NBFORMAT)
    long = "a\ud800" * length
    assert layout(long) == json.dumps(long, **NBFORMAT)


@given(values)
def test_json_is_laid_out_as_nbformat_does(value: Any) -> None:
    assert layout(value) == json.dumps(value, **NBFORMAT)


@pytest.mark.parametrize("value", [{1: 2}, (1,), {"a": b"b"}, [object()]])
def test_what_json_text_can_not_become_is_not_laid_out(value: Any) -> None:
    with pytest.raises(TypeError):
        layout(value)


@given(values)
def test_json_is_parsed_as_json_does(value: Any) -> None:
    text = json.dumps(value)
    assert repr(parse(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"a": "\xc3"}', b"\xef\xbb\xbf1"])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_long_integers_come_through() -> None:
    body = canonical(notebook(metadata={"n": [2**70, float("nan")]})).body
    assert str(2**70).encode() in body
    assert read(body)[0]["metadata"] == {"n": [2**70, None]}


@pytest.mark.parametrize("minor", [-1, 7])
def test_a_minor_number_that_nbformat_does_not_know(peer: FileContentsManager, minor: int) -> None:
    content = notebook(code("a", id="a"), minor=minor)
    stored, expected = canonical(content), saved_by(peer, content)
    assert expected is not None
    assert (stored.body, stored.message) == (expected.body, expected.message)
    assert (stored.message is None) == (minor > 0), "the future may be valid, the past has no such number"


def test_a_message_shows_what_is_wrong_and_where() -> None:
    wrong = canonical(notebook(code(id="a"), code(id="b", zzz=1)))
    assert wrong.message is not None
    assert wrong.message.startswith("Notebook validation failed: Additional properties are not allowed")
    assert "On instance['cells'][1]" in wrong.message


def test_a_new_notebook_is_what_it_is_when_saved(peer: FileContentsManager) -> None:
    made = peer.new({"type": "notebook"}, "new.ipynb")
    assert made["type"] == "notebook"
    assert empty() == Path(peer.root_dir, "new.ipynb").read_bytes()
    assert canonical(read(empty())[0]).body == empty()


def test_line_ends_are_those_of_str_splitlines() -> None:
    """The reference in one line, without jupyter_server and hypothesis."""
    content = notebook(code("a\r\nb\rc\u2028d\x0ce\x85", id="a", outputs=[RICH, PLAIN]))
    stored = canonical(content)
    assert stored.body == written_by_nbformat(content)
    assert json.loads(stored.body)["cells"][0]["source"] == ["a\r\n", "b\r", "c\u2028", "d\x0c", "e\x85"]
