"""Signed ZMQ parts, against jupyter_client's Session."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from jupyter_client.jsonutil import extract_dates
from jupyter_client.session import Session

from evstore.processes.kernels import messages, wire
from evstore.processes.kernels.messages import BadMessage, Signer

KEY = b"a kernel's key"
AT = datetime(2026, 11, 22, tzinfo=UTC)


def made(msg_type: str = "status", session: str = "s") -> list[bytes]:
    return messages.make(msg_type, {"execution_state": "idle"}, msg_id="m", session=session, at=AT)


def test_jupyter_client_accepts_our_signature() -> None:
    session = Session(key=KEY)
    _, parts = session.feed_identities([b"topic", *Signer(KEY).wrap([*made(), b"buffer"])])
    message = session.deserialize(parts)
    assert message["content"] == {"execution_state": "idle"}
    assert extract_dates(message["header"])["date"] == AT  # ipyparallel turns this step of theirs off
    assert bytes(message["buffers"][0]) == b"buffer"


def test_we_accept_the_signature_of_jupyter_client() -> None:
    session = Session(key=KEY)
    raw = session.serialize(session.msg("status", {"execution_state": "busy"}), ident=b"topic")
    parts = Signer(KEY).unwrap([*raw, b"buffer"])
    assert messages.json_object(parts[3]) == {"execution_state": "busy"}
    assert parts[4] == b"buffer"


def test_the_server_signs_with_the_kernels_key_only() -> None:
    raw = Signer(b"another key").wrap(made())
    with pytest.raises(BadMessage):
        Signer(KEY).unwrap(raw)


@pytest.mark.parametrize(
    "raw", [[], [b"<IDS|MSG>"], [b"no", b"delimiter"], [b"<IDS|MSG>", b"signature", b"{}", b"{}", b"{}"]]
)
def test_what_is_no_message(raw: list[bytes]) -> None:
    with pytest.raises(BadMessage):
        Signer(KEY).unwrap(raw)


@pytest.mark.parametrize("part", [b"", b"{", b"[]", b"1", b"\xff"])
def test_what_is_no_object(part: bytes) -> None:
    with pytest.raises(BadMessage):
        messages.json_object(part)


def test_made_messages_have_what_jupyterlab_checks() -> None:
    header, parent, metadata, _ = map(messages.json_object, made(session="kernel's"))
    assert {name: header[name] for name in ("msg_id", "msg_type", "session")} == {
        "msg_id": "m",
        "msg_type": "status",
        "session": "kernel's",
    }
    assert all(isinstance(header[name], str) for name in ("username", "version", "date"))
    assert (parent, metadata) == ({}, {})


def test_a_gap_is_told_in_the_cell_that_it_is_in() -> None:
    parent = b'{"msg_id":"the cell"}'
    parts = messages.make(
        "stream", {"name": "stdout", "text": "x"}, msg_id="1", session="k", at=AT, parent=parent
    )
    notice = wire.from_v1(messages.gap_notice(wire.to_v1("iopub", parts), 7, msg_id="2", at=AT))
    assert (notice.channel, notice.parts[1]) == ("iopub", parent)
    assert messages.json_object(notice.parts[0])["session"] == "k"
    content = messages.json_object(notice.parts[3])
    assert content["name"] == "stderr"
    assert "7 messages were not kept" in content["text"]
