"""Which pictures a notebook refers to by a path, and how references to them are changed."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.processes.convert import pictures
from tests.notebooks import code_cell, notebook, shown, text_cell

DATA = base64.b64encode(b"x").decode()
FOUND = [
    ("![a](p.png)", ["p.png"], "![a](NEW)"),
    ('text ![a](p.png "Title") and ![b]( q.jpg )', ["p.png", "q.jpg"], 'text ![a](NEW "Title") and ![b]( NEW )'),
    ("![a [b] c](<a b.png>)", ["a b.png"], "![a [b] c](<NEW>)"),
    ("![](../img/a%20b.SVG?x=1#y)", ["../img/a b.SVG"], "![](NEW)"),
    ("![](p_(1).png)", ["p_(1).png"], "![](NEW)"),
    ("![](/top.gif)", ["/top.gif"], "![](NEW)"),
    ("[![](p.png)](page.html)", ["p.png"], "[![](NEW)](page.html)"),
    ('<img width="3"\n src="p.png">', ["p.png"], '<img width="3"\n src="NEW">'),
    ("<IMG src='a&amp;b.png'/> <img src=p.png >", ["p.png"], "<IMG src='a&amp;b.png'/> <img src=NEW >"),
    ("<img src='a&amp;b.png'/>", ["a&b.png"], "<img src='NEW'/>"),
    ("![x][1] ![y]\n\n[1]: p.png 'T'\n[y]: <q.png>", ["p.png", "q.png"], "![x][1] ![y]\n\n[1]: NEW 'T'\n[y]: <NEW>"),
    ("see [x][1]\n\n[1]: p.png", [], None),
    ("[link](p.png)", [], None),
    ("![](http://a.example/p.png) ![](//a.example/p.png) ![](data:image/png;base64,aa)", [], None),
    ("![](attachment:p.png) ![](p.txt) ![](page) ![]()", [], None),
    ("`![a](p.png)` and ``![a](p.png)``", [], None),
    ("```\n![a](p.png)\n```\n![a](q.png)", ["q.png"], "```\n![a](p.png)\n```\n![a](NEW)"),
    ("~~~md\n![a](p.png)\n", [], None),
]  # fmt: skip


@pytest.mark.parametrize(("source", "paths", "changed"), FOUND)
def test_markdown(source: str, paths: list[str], changed: str | None) -> None:
    nb = notebook(text_cell(source))
    assert pictures.wanted(nb) == paths
    pictures.embed(nb, dict.fromkeys(paths, b"x"))
    mimetype = {"jpg": "jpeg", "svg": "svg+xml"}
    told: str = nb["cells"][0]["source"]
    for path in paths:
        ending = path.rpartition(".")[2].lower()
        told = told.replace(f"data:image/{mimetype.get(ending, ending)};base64,{DATA}", "NEW")
    assert told == (source if changed is None else changed)


def test_outputs() -> None:
    output = shown(text_markdown="![](a.png)", text_html='`<img src="b.png">`', text_plain="![](c.png)")
    nb = notebook(code_cell("![](d.png)", output))
    assert pictures.wanted(nb) == ["a.png", "b.png"]
    assert pictures.rename(nb, {"a.png": b"a", "b.png": b"b"}) == {"a.png": b"a", "b.png": b"b"}
    assert nb["cells"][0]["outputs"] == [output]


def test_names_that_every_format_can_have() -> None:
    paths = ["fig/plot.png", "../fig/plot.png", "my plot_1.v2.PNG", "é.png", "image.png"]
    nb = notebook(
        text_cell("\n\n".join(f"![](<{path}>)" for path in paths)),
        text_cell("![](attachment:image.png)", attachments={"image.png": {"image/png": DATA}}),
    )
    assert pictures.wanted(nb) == paths
    named = pictures.rename(nb, {path: path.encode() for path in paths})
    assert list(named) == ["plot.png", "plot-2.png", "my-plot-1-v2.png", "picture.png", "image-2.png"]
    assert list(named.values()) == [path.encode() for path in paths]
    assert nb["cells"][0]["source"] == "\n\n".join(f"![](<{name}>)" for name in named)
    assert nb["cells"][1]["source"] == "![](attachment:image.png)"


def test_what_is_not_there_stays() -> None:
    nb = notebook(text_cell("![](a.png) ![](b.png)"))
    assert pictures.rename(nb, {"b.png": b"b"}) == {"b.png": b"b"}
    assert nb["cells"][0]["source"] == "![](a.png) ![](b.png)"


def test_not_too_many() -> None:
    many = notebook(text_cell(" ".join(f"![]({number}.png)" for number in range(2 * pictures.MOST))))
    assert len(pictures.wanted(many)) == pictures.MOST


@given(st.lists(st.sampled_from([*"![]()<>`~ \n:", "![a](", "p.png", "<img src=", '"', "```\n", "[1]: "])))
def test_nothing_else_is_changed(parts: list[str]) -> None:
    nb: Any = notebook(text_cell("".join(parts)))
    before = copy.deepcopy(nb)
    found = pictures.wanted(nb)
    assert all(path.endswith(".png") for path in found)
    pictures.embed(nb, {})
    assert nb == before


@pytest.mark.parametrize(
    "part", ["![a](", "![", "<img ", "`", "[1]: ", "![a][", "![](<", "```", "\\", "![a]((", "<img src="]
)
def test_what_is_meant_to_take_for_ever_does_not(part: str) -> None:
    """Ends within the time limit of tests."""
    nb = notebook(text_cell(part * 20_000), text_cell(f"{part}\n" * 20_000))
    assert pictures.wanted(nb) == []
