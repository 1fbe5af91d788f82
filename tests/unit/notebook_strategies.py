"""Notebooks of all kinds for hypothesis: valid ones, old ones, ones with something odd in them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

# What str.splitlines and JSON treat in their own ways, besides ordinary text.
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
text = st.text(
    st.sampled_from(LINE_ENDS + 'ab"\\/\x00\x1f\x7f\t é\u0301😀\ufeff')
    | st.characters(exclude_categories=["Cs"]),
    max_size=30,
) | st.sampled_from(["a\nb\n", "a\r\nb", '\n  {\n "cells": [],\n    {\n   ],\n', "x\n" * 50])

numbers = (
    st.integers(-(2**70), 2**70)
    | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**40])
    | st.floats()
    | st.sampled_from([1e16, 1e-5, 1e-7, 1e20, 5e-324, 1.7976931348623157e308, -0.0, 123456789012345680.0])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(text, values, max_size=3)
multiline = text | st.lists(text, max_size=4)

bundles = st.dictionaries(
    st.sampled_from(
        ["text/plain", "text/html", "image/png", "image/svg+xml", "application/javascript", "x/y"]
    ),
    multiline,
    max_size=3,
).flatmap(
    lambda bundle: st.fixed_dictionaries(
        {}, optional={"application/json": values, "application/vnd.plotly.v1+json": objects}
    ).map(lambda more: {**bundle, **more})
)
counts = st.none() | st.integers(0, 10**6)
outputs = st.one_of(
    st.fixed_dictionaries(
        {"output_type": st.just("stream"), "name": st.sampled_from(["stdout", "stderr"]), "text": multiline}
    ),
    st.fixed_dictionaries({"output_type": st.just("display_data"), "data": bundles, "metadata": objects}),
    st.fixed_dictionaries(
        {
            "output_type": st.just("execute_result"),
            "data": bundles,
            "metadata": objects,
            "execution_count": counts,
        }
    ),
    st.fixed_dictionaries(
        {
            "output_type": st.just("error"),
            "ename": text,
            "evalue": text,
            "traceback": st.lists(text, max_size=3),
        }
    ),
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "trusted": st.booleans(),
        "collapsed": st.booleans(),
        "tags": st.lists(st.sampled_from("abc"), unique=True),
        "x": values,
    },
)
attachments = st.dictionaries(text, bundles, max_size=2)


def cells(minor: int) -> st.SearchStrategy[dict[str, Any]]:
    named = {"id": st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)} if minor >= 5 else {}
    common = {**named, "metadata": metadata, "source": multiline}
    attached = {"attachments": attachments} if minor >= 1 else {}
    return st.one_of(
        st.fixed_dictionaries(
            {"cell_type": st.sampled_from(["markdown", "raw"]), **common}, optional=attached
        ),
        st.fixed_dictionaries(
            {
                "cell_type": st.just("code"),
                **common,
                "outputs": st.lists(outputs, max_size=3),
                "execution_count": counts,
            }
        ),
    )


def notebooks_of(minor: int) -> st.SearchStrategy[dict[str, Any]]:
    unique = (lambda cell: cell["id"]) if minor >= 5 else None
    return st.fixed_dictionaries(
        {
            "cells": st.lists(cells(minor), max_size=4, unique_by=unique),
            "metadata": st.fixed_dictionaries(
                {},
                optional={
                    "kernelspec": st.just({"name": "python3", "display_name": "Python 3"}),
                    "orig_nbformat": st.integers(1, 4),
                    "signature": text,
                    "x": values,
                },
            ),
            "nbformat": st.just(4),
            "nbformat_minor": st.just(minor),
        }
    )


# Version 4, valid: 4.6 is what a client newer than nbformat may write.
notebooks = st.integers(0, 6).flatmap(notebooks_of)

_old_outputs = st.one_of(
    st.fixed_dictionaries({"output_type": st.just("stream"), "stream": st.just("stdout"), "text": multiline}),
    st.fixed_dictionaries(
        {"output_type": st.just("pyout"), "prompt_number": st.integers(0, 9), "metadata": st.just({})},
        optional={"text": multiline, "html": multiline, "png": text},
    ),
    st.fixed_dictionaries(
        {"output_type": st.just("display_data"), "metadata": st.just({})}, optional={"svg": multiline}
    ),
)
_old_cells = st.one_of(
    st.fixed_dictionaries({"cell_type": st.just("markdown"), "metadata": metadata, "source": multiline}),
    st.fixed_dictionaries(
        {
            "cell_type": st.just("heading"),
            "metadata": metadata,
            "source": multiline,
            "level": st.integers(1, 6),
        }
    ),
    st.fixed_dictionaries(
        {
            "cell_type": st.just("code"),
            "metadata": metadata,
            "input": multiline,
            "language": st.just("python"),
            "outputs": st.lists(_old_outputs, max_size=2),
        }
    ),
)
old_notebooks = st.fixed_dictionaries(
    {
        "worksheets": st.lists(
            st.fixed_dictionaries({"cells": st.lists(_old_cells, max_size=3)}), max_size=2
        ),
        "metadata": st.fixed_dictionaries({"name": text}, optional={"x": values}),
        "nbformat": st.just(3),
        "nbformat_minor": st.just(0),
    }
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as (container, key or index)."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [p for member in value.values() for p in _places(member)]
    if isinstance(value, list):
        return [(value, at) for at in range(len(value))] + [p for element in value for p in _places(element)]
    return []


_odd_values = values | st.sampled_from(
    ["code", "stream", "execute_result", "unknown", [], {}, [[]], [{}], {"a": None}, "x" * 70]
).map(copy.deepcopy)


@st.composite
def odd_notebooks(draw: st.DrawFn) -> Any:
    """A notebook with one or two places replaced, removed or added: some still valid, some not readable."""
    notebook: Any = draw(notebooks | old_notebooks)
    for _ in range(draw(st.integers(1, 2))):
        places = _places(notebook)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            container[key] = draw(_odd_values)
        elif what == "remove":
            del container[key]
        elif isinstance(container, list):
            container.insert(key, draw(_odd_values))
        else:
            container[draw(st.sampled_from(["id", "outputs", "data", "text", "attachments", "zzz"]))] = draw(
                _odd_values
            )
    return notebook
