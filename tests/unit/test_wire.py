"""Both websocket framings, against jupyter_server's own reading and writing of them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection import base as reference

from evstore.processes.kernels import wire

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)
HEADERS = st.fixed_dictionaries({"msg_id": st.text(max_size=8), "msg_type": st.text(max_size=8)})
CHANNELS = st.sampled_from(("shell", "control", "stdin", "iopub"))
BUFFERS = st.lists(st.binary(max_size=50), max_size=4)


def encoded(*objects: Any) -> list[bytes]:
    return [json.dumps(one).encode() for one in objects]


PARTS = st.builds(encoded, HEADERS, OBJECTS, OBJECTS, OBJECTS)


@given(CHANNELS, PARTS, BUFFERS)
def test_v1_frames_are_jupyter_servers(channel: str, parts: list[bytes], buffers: list[bytes]) -> None:
    frame = wire.to_v1(channel, parts + buffers)
    assert frame == reference.serialize_msg_to_ws_v1(parts + buffers, channel)
    assert wire.from_v1(frame) == wire.Message(channel, parts + buffers)


@given(CHANNELS, PARTS, BUFFERS)
def test_default_frames_can_be_read_by_jupyter_server(
    channel: str, parts: list[bytes], buffers: list[bytes]
) -> None:
    frame = wire.to_default(wire.to_v1(channel, parts + buffers))
    assert isinstance(frame, bytes) == bool(buffers)  # JupyterLab throws on a binary frame without buffers
    data = reference.deserialize_binary_message(frame) if isinstance(frame, bytes) else json.loads(frame)
    assert [data[name] for name in wire.PARTS] == [json.loads(part) for part in parts]
    assert (data["channel"], data["buffers"]) == (channel, buffers)
    assert (data["msg_id"], data["msg_type"]) == (data["header"]["msg_id"], data["header"]["msg_type"])


@given(CHANNELS, HEADERS, OBJECTS, OBJECTS, OBJECTS, BUFFERS)
def test_default_frames_of_jupyter_server_can_be_read(
    channel: str, header: Any, parent: Any, metadata: Any, content: Any, buffers: list[bytes]
) -> None:
    data = {"header": header, "parent_header": parent, "metadata": metadata, "content": content}
    data |= {"channel": channel, "buffers": buffers}
    frame = reference.serialize_binary_message(data) if buffers else json.dumps(data)
    message = wire.from_default(frame)
    assert message.channel == channel
    assert [json.loads(part) for part in message.parts[:4]] == [header, parent, metadata, content]
    assert message.parts[4:] == buffers


def test_numbers_stay_as_they_came() -> None:
    text = '{"header":{},"content":{"big":123456789012345678901234567890,"small":0.1,"exp":1e-7}}'
    content = wire.from_default(text).parts[3]
    assert content == b'{"big":123456789012345678901234567890,"small":0.1,"exp":1e-07}'
    parts = [b'{"msg_id":"1","msg_type":"x"}', b"{}", b"{}", b'{"n": 1.000000000000000000001}']
    assert '"content":{"n": 1.000000000000000000001}' in str(wire.to_default(wire.to_v1("iopub", parts)))


def test_a_default_frame_may_leave_things_out() -> None:
    assert wire.from_default('{"header":{"msg_id":"1"}}') == wire.Message(
        "shell", [b'{"msg_id":"1"}', b"{}", b"{}", b"{}"]
    )


def v1_with(count: int, *offsets: int, rest: bytes = b"x" * 40) -> bytes:
    return b"".join(n.to_bytes(8, "little") for n in (count, *offsets)) + rest


BROKEN_V1 = {
    "empty": b"",
    "half a count": b"\x06\0\0",
    "no offsets": v1_with(6, rest=b""),
    "too few offsets": v1_with(3, 32, 34, 36),
    "a giant count": v1_with(2**63, 56),
    "more offsets than bytes": v1_with(1000, 56, 57),
    "into the offsets": v1_with(6, 8, 60, 62, 64, 66, 68),
    "backwards": v1_with(6, 56, 62, 60, 64, 66, 68),
    "past the end": v1_with(6, 56, 60, 62, 64, 66, 10_000),
    "far past the end": v1_with(6, 56, 60, 62, 64, 66, 2**64 - 1),
    "a channel that is no text": v1_with(6, 56, 58, 58, 58, 58, 58, rest=b"\xff\xfe"),
}


@pytest.mark.parametrize("frame", BROKEN_V1.values(), ids=BROKEN_V1.keys())
def test_broken_v1_frames(frame: bytes) -> None:
    with pytest.raises(wire.BadFrame) as error:
        wire.from_v1(frame)
    assert error.value.code == 1007


def binary_with(count: int, *offsets: int, rest: bytes = b"{}") -> bytes:
    return b"".join(n.to_bytes(4, "big") for n in (count, *offsets)) + rest


BROKEN_DEFAULT: dict[str, str | bytes] = {
    "empty": "",
    "not JSON": "{",
    "a list": "[]",
    "deep": "[" * 100_000,
    "a long number": '{"header":{"n":' + "1" * 5000 + "}}",
    "a header that is no object": '{"header":[]}',
    "content that is no object": '{"header":{},"content":"x"}',
    "a channel that is no name": '{"header":{},"channel":{}}',
    "empty binary": b"",
    "no pieces": binary_with(0),
    "a giant count": binary_with(2**32 - 1, 8),
    "into the offsets": binary_with(1, 0),
    "past the end": binary_with(1, 10_000),
    "backwards": binary_with(2, 14, 12),
    "binary that is not JSON": binary_with(1, 8, rest=b"\xff\xff"),
}


@pytest.mark.parametrize("frame", BROKEN_DEFAULT.values(), ids=BROKEN_DEFAULT.keys())
def test_broken_default_frames(frame: str | bytes) -> None:
    with pytest.raises(wire.BadFrame) as error:
        wire.from_default(frame)
    assert error.value.code == 1007


@given(st.binary(max_size=200) | st.text(max_size=100))
def test_nothing_but_bad_frame_is_ever_raised(data: str | bytes) -> None:
    for read in (wire.from_default, *([wire.from_v1] if isinstance(data, bytes) else [])):
        with suppress(wire.BadFrame):
            wire.check(read(data))


@given(PARTS, st.data())
def test_a_damaged_v1_frame_raises_nothing_else(parts: list[bytes], data: st.DataObject) -> None:
    frame = bytearray(wire.to_v1("shell", parts))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] = data.draw(st.integers(0, 255))
    with suppress(wire.BadFrame):
        wire.check(wire.from_v1(bytes(frame[: data.draw(st.integers(0, len(frame)))])))


GOOD = [b'{"msg_id":"1","msg_type":"execute_request"}', b"{}", b"{}", b"{}"]
REFUSED = {
    "a channel for reading": ("iopub", GOOD),
    "an unknown channel": ("shall", GOOD),
    "no channel": ("", GOOD),
    "a header that is not JSON": ("shell", [b"{", *GOOD[1:]]),
    "a header that is a list": ("shell", [b"[]", *GOOD[1:]]),
    "no msg_id": ("shell", [b'{"msg_type":"x"}', *GOOD[1:]]),
    "no msg_type": ("shell", [b'{"msg_id":"x"}', *GOOD[1:]]),
    "a msg_type that is a number": ("shell", [b'{"msg_id":"x","msg_type":1}', *GOOD[1:]]),
}


@pytest.mark.parametrize(("channel", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_messages_that_no_kernel_gets(channel: str, parts: list[bytes]) -> None:
    with pytest.raises(wire.BadFrame) as error:
        wire.check(wire.Message(channel, parts))
    assert error.value.code is None  # it is ignored; the connection stays


@pytest.mark.parametrize("channel", ["shell", "control", "stdin"])
def test_messages_that_kernels_get(channel: str) -> None:
    wire.check(wire.Message(channel, GOOD))
