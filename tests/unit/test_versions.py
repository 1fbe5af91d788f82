"""Notebooks in the forms of their time."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import nbformat
import pytest
from hypothesis import given

from evstore.core import notebooks
from evstore.core.errors import Invalid
from evstore.core.notebooks import versions
from tests.unit import notebook_strategies as strategies


def stored(content: Any) -> bytes:
    return notebooks.canonical(content).body


def example() -> dict[str, Any]:
    v4 = nbformat.v4
    code = v4.new_code_cell("x\ny", outputs=[v4.new_output("stream", name="stdout", text="a\nb")])
    return v4.new_notebook(cells=[code, v4.new_markdown_cell("## Two"), v4.new_raw_cell("raw")])


def test_version_3_has_worksheets_headings_and_trust():
    content = json.loads(versions.content_json(stored(example()), trusted=True, version=3))
    code, heading, raw = content["worksheets"][0]["cells"]
    assert (code["input"], code["metadata"]["trusted"]) == ("x\ny", True)
    assert code["outputs"] == [{"output_type": "stream", "stream": "stdout", "text": "a\nb"}]
    assert (heading["cell_type"], heading["level"], heading["source"]) == ("heading", 2, "Two")
    assert raw["source"] == "raw"
    nbformat.validate(content)


def test_what_is_stored_in_version_3_comes_back_as_it_was():
    v3 = nbformat.v3
    sheets = [v3.new_worksheet(cells=[v3.new_text_cell("html", source="<b>")]) for _ in range(2)]
    old = v3.new_notebook(metadata=v3.new_metadata(name="old"), worksheets=sheets)
    content = json.loads(versions.content_json(stored(old), trusted=False, version=3))
    assert len(content["worksheets"]) == 2 and content["metadata"]["name"] == "old"
    assert content["worksheets"][1]["cells"][0]["cell_type"] == "html"
    assert json.loads(versions.file_json(stored(old), version=3))["nbformat"] == 3


def test_a_file_is_given_as_it_is_unless_another_version_is_asked_for():
    body = stored(example())
    assert versions.file_json(body) == versions.file_json(body, version=4) == body
    assert json.loads(versions.file_json(body, version=3))["nbformat"] == 3


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"nbformat": 3}', b'{"nbformat": 4}', b"\xff"])
def test_what_is_no_notebook_is_invalid(body: bytes):
    for make in (versions.content_json, versions.file_json, versions.to_py):
        with pytest.raises(Invalid):
            make(body, **({"trusted": False} if make is versions.content_json else {}))


@given(strategies.notebooks | strategies.old_notebooks | strategies.odd_notebooks())
def test_every_notebook_has_an_old_form_or_a_reason_why_not(content: Any):
    with contextlib.suppress(Invalid):  # and raises nothing else
        body = stored(content)
        versions.content_json(body, trusted=True, version=3)
        versions.to_py(body)
        versions.file_json(body, version=3)


def test_half_a_surrogate_pair():
    content = example()
    content["cells"][0]["source"] = "'\ud800'"
    assert b"\\ud800" in versions.file_json(stored(content), version=3)
    assert b"\\ud800" in versions.to_py(stored(content))


@given(strategies.notebooks)
def test_a_valid_notebook_keeps_its_code(content: Any):
    body = stored(content)
    old = json.loads(versions.content_json(body, trusted=False, version=3))
    now = json.loads(versions.content_json(body, trusted=False))
    code = [cell["input"] for cell in old["worksheets"][0]["cells"] if cell["cell_type"] == "code"]
    assert code == [cell["source"] for cell in now["cells"] if cell["cell_type"] == "code"]


def test_a_script_keeps_all_cells_the_last_one_too():
    script = versions.to_py(stored(example()))
    again = versions.from_py(script)
    assert [cell["source"] for cell in again["cells"]] == ["x\ny", "## Two", "raw"]
    assert again["nbformat"] == 4
    nbformat.validate(again)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"kernelspec": {"name": "ir"}}, "ir"),
        ({"kernelspec": {"name": ""}}, None),
        ({"kernelspec": {"name": 5}}, None),
        ({"kernelspec": []}, None),
        ({}, None),
    ],
)
def test_the_kernel_that_a_notebook_names(metadata: Any, name: str | None):
    assert versions.kernel_name(json.dumps({"metadata": metadata}).encode()) == name


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b'{"metadata": 5}', b"\xff"])
def test_what_is_no_notebook_names_no_kernel(body: bytes):
    assert versions.kernel_name(body) is None


def test_a_new_notebook_for_a_kernel():
    content = json.loads(versions.empty_for("ir", {"display_name": "R", "language": None}))
    assert content["metadata"]["kernelspec"] == {"name": "ir", "display_name": "R", "language": "ir"}
    nbformat.validate(content)
