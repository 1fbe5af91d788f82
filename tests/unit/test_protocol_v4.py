from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.processes.kernels import protocol_v4, wire
from evstore.processes.kernels.wire import BadFrame

AT = "2026-11-22T10:00:00+00:00"
TYPES = [
    "execute_request",
    "object_info_request",
    "complete_request",
    "history_request",
    "input_reply",
    "kernel_info_reply",
    "execute_reply",
    "complete_reply",
    "inspect_reply",
    "stream",
    "display_data",
    "execute_result",
    "input_request",
    "status",
    "__call__",
    "__init__",
    "version",
    "update_header",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "code",
        "line",
        "cursor_pos",
        "matches",
        "cursor_start",
        "cursor_end",
        "data",
        "text",
        "payload",
        "status",
        "language_info",
        "protocol_version",
        "user_variables",
        "user_expressions",
        "found",
        "oname",
        "prompt",
    ]
)
contents = st.dictionaries(KEYS, json_values, max_size=5)


@pytest.mark.parametrize(
    ("first", "session"),
    [
        ("ABC-1:username=x", "ABC-1"),
        ("0ef3:", "0ef3"),
        ("username=x; _xsrf=2|a:b", None),
        ("", None),
        ("a b:c", None),
        ("http://x", None),
        ("x" * 101 + ":", None),
    ],
)
def test_the_session_in_a_first_frame(first: str, session: str | None):
    assert protocol_v4.session_of(first) == session


def from_old(msg_type: str, content: dict[str, Any], **header: Any) -> dict[str, Any]:
    text = json.dumps({"header": {"msg_id": "1", "msg_type": msg_type} | header, "content": content})
    heard = protocol_v4.from_old(text, "shell", session="s", at=AT)
    return dict(zip(wire.PARTS, map(json.loads, heard.message.parts), strict=True)) | {"heard": heard}


@pytest.mark.parametrize(
    ("msg_type", "content", "new_type", "new_content"),
    [
        (
            "execute_request",
            {"code": "1", "user_variables": ["x"]},
            "execute_request",
            {"code": "1", "user_expressions": {"x": "x"}},
        ),
        (
            "object_info_request",
            {"oname": "a.b"},
            "inspect_request",
            {"code": "a.b", "cursor_pos": 3, "detail_level": 0},
        ),
        (
            "complete_request",
            {"line": "a.", "cursor_pos": 2, "text": "", "block": None},
            "complete_request",
            {"code": "a.", "cursor_pos": 2},
        ),
        ("input_reply", {"value": "x"}, "input_reply", {"value": "x"}),
        (
            "comm_msg",
            {"comm_id": "1", "data": {"x": 2**70}},
            "comm_msg",
            {"comm_id": "1", "data": {"x": 2**70}},
        ),
    ],
)
def test_what_old_clients_send_in_todays_words(
    msg_type: str, content: dict[str, Any], new_type: str, new_content: dict[str, Any]
):
    parts = from_old(msg_type, content)
    assert (parts["header"]["msg_type"], parts["content"]) == (new_type, new_content)
    header = {name: parts["header"][name] for name in ("version", "session", "username", "date")}
    assert header == {"version": "5.0", "session": "s", "username": "username", "date": AT}
    assert (parts["heard"].version, parts["heard"].session) == (4, "s")


def test_what_speaks_protocol_5_passes_as_it_is():
    parts = from_old("complete_request", {"code": "x", "cursor_pos": 1}, version="5.3", session="mine")
    assert parts["content"] == {"code": "x", "cursor_pos": 1}
    assert parts["header"]["version"] == "5.3"
    assert (parts["heard"].version, parts["heard"].session) == (5, "mine")


@given(
    st.sampled_from(TYPES), contents, st.dictionaries(st.sampled_from(["version", "session"]), json_values)
)
def test_a_hostile_client_gets_no_further_than_a_bad_frame(
    msg_type: str, content: dict[str, Any], header: dict[str, Any]
):
    try:
        parts = from_old(msg_type, content, **header)
    except BadFrame:
        return
    assert all(isinstance(parts[name], dict) for name in wire.PARTS)


@given(st.text(max_size=50) | json_values.map(json.dumps))
def test_any_text_is_a_message_or_a_bad_frame(text: str):
    try:
        protocol_v4.from_old(text, "shell", session="s", at=AT)
    except BadFrame:
        pass
    else:
        assert protocol_v4.is_message(text)


def to_old(
    msg_type: str, content: Any, *, version: int = 4, parent: str = "execute_request"
) -> dict[str, Any]:
    header = {"msg_id": "2", "msg_type": msg_type, "version": "5.4", "session": "k", "date": AT}
    parts = [header, {"msg_id": "1", "msg_type": parent, "version": "5.0"}, {}, content]
    frame = wire.to_v1("iopub", [json.dumps(part).encode() for part in parts] + [b"a buffer"])
    return json.loads(protocol_v4.to_old(frame, version=version))


@pytest.mark.parametrize(
    ("msg_type", "content", "old_type", "old_content"),
    [
        ("stream", {"name": "stdout", "text": "a"}, "stream", {"name": "stdout", "data": "a"}),
        ("execute_input", {"code": "1", "execution_count": 1}, "pyin", {"code": "1", "execution_count": 1}),
        ("execute_result", {"data": {}, "execution_count": 1}, "pyout", {"data": {}, "execution_count": 1}),
        ("error", {"ename": "E"}, "pyerr", {"ename": "E"}),
        ("input_request", {"prompt": "?", "password": False}, "input_request", {"prompt": "?"}),
        (
            "display_data",
            {"data": {"application/json": {"a": 1}}, "metadata": {}},
            "display_data",
            {"data": {"application/json": '{"a": 1}'}, "metadata": {}, "source": "display"},
        ),
        (
            "complete_reply",
            {"matches": ["abc"], "cursor_start": 0, "cursor_end": 2, "metadata": {}, "status": "ok"},
            "complete_reply",
            {"matches": ["abc"], "matched_text": "ab", "status": "ok"},
        ),
        (
            "inspect_reply",
            {"found": True, "data": {"text/plain": "doc"}, "metadata": {}},
            "object_info_reply",
            {"found": True, "oname": "", "docstring": "doc"},
        ),
        ("status", {"execution_state": "busy"}, "status", {"execution_state": "busy"}),
    ],
)
def test_what_kernels_send_in_old_words(
    msg_type: str, content: dict[str, Any], old_type: str, old_content: dict[str, Any]
):
    message = to_old(msg_type, content)
    assert message.keys() == {"header", "parent_header", "metadata", "content", "msg_id", "msg_type"}
    assert (message["msg_type"], message["header"]["msg_type"]) == (old_type, old_type)
    assert message["content"] == old_content
    assert "version" not in message["header"] | message["parent_header"]
    assert to_old(msg_type, content, version=5)["content"] == content


@given(st.sampled_from(TYPES), contents)
def test_whatever_a_kernel_sends_becomes_a_message(msg_type: str, content: dict[str, Any]):
    for version in (4, 5):
        message = to_old(msg_type, content, version=version)
        assert message["msg_id"] == "2"


@pytest.mark.parametrize("content", [b'{"text": NaN, "name": "x"}', b'{"text": "\\ud800", "name": "x"}'])
def test_what_strict_readers_refuse_still_arrives(content: bytes):
    frame = wire.to_v1("iopub", [b'{"msg_type":"stream"}', b"{}", b"{}", content])
    assert "data" in json.loads(protocol_v4.to_old(frame))["content"]
