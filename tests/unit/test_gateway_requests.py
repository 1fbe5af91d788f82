"""Who gets which answer, when all requests go one way."""

from __future__ import annotations

import json

import pytest

from evstore.processes.gateway import requests
from evstore.processes.gateway.requests import Requests
from evstore.processes.kernels.messages import BadMessage
from evstore.processes.kernels.wire import Message


class Client:
    """It keeps what it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []

    def replied(self, channel: str, parts: list[bytes]) -> None:
        self.got.append((channel, parts[3]))


def asked(
    msg_id: object, msg_type: str = "execute_request", channel: str = "shell", **header: object
) -> Message:
    parts = [{"msg_id": msg_id, "msg_type": msg_type} | header, {}, {}, {}]
    return Message(channel, [json.dumps(part).encode() for part in parts])


def answer(msg_id: object, channel: str = "shell", content: object = "answer") -> Message:
    parts = [{}, {"msg_id": msg_id}, {}, content]
    return Message(channel, [json.dumps(part).encode() for part in parts])


def test_each_gets_its_own_and_only_once() -> None:
    one, other, waiting = Client(), Client(), Requests()
    waiting.add(asked("1"), one.replied)
    waiting.add(asked("2"), other.replied)
    for msg_id in ("2", "1", "1", "3", None):
        waiting.route(answer(msg_id))
    assert one.got == other.got == [("shell", b'"answer"')]


def test_a_question_on_stdin_is_no_answer() -> None:
    client, waiting = Client(), Requests()
    waiting.add(asked("1"), client.replied)
    waiting.route(answer("1", "stdin", "name?"))
    waiting.route(answer("1"))
    assert client.got == [("stdin", b'"name?"'), ("shell", b'"answer"')]


@pytest.mark.parametrize("message", [asked("1", "comm_msg"), asked("1", "input_reply", "stdin"), asked(5)])
def test_what_is_not_answered_does_not_wait(message: Message) -> None:
    assert Requests().add(message, Client().replied) is None


def test_those_that_were_sent_are_doubtful_until_they_are_over() -> None:
    client, waiting = Client(), Requests()
    made = [waiting.add(asked(str(number)), client.replied) for number in range(4)]
    for request in made[:3]:
        assert request is not None
        request.is_sent = True
    answered, idle, over = waiting.sent()
    waiting.route(answer("0"))
    waiting.idle(idle)
    waiting.idle(over)
    waiting.answered(over)  # given up
    assert waiting.sent() == [answered, idle]
    waiting.route(answer("2"))  # too late
    assert len(client.got) == 1
    waiting.idle(answered)
    waiting.route(answer("1"))
    assert waiting.sent() == []
    assert [request in waiting for request in (answered, idle, over)] == [False] * 3


def test_a_subshell_answers_when_it_likes() -> None:
    made = Requests().add(asked("1", subshell_id="s"), Client().replied)
    assert made is not None and not made.in_order


def test_a_client_that_has_gone_gets_nothing() -> None:
    gone, client, waiting = Client(), Client(), Requests()
    waiting.add(asked("1"), gone.replied)
    waiting.add(asked("2"), client.replied)
    waiting.forget(gone.replied)
    waiting.route(answer("1"))
    waiting.route(answer("2"))
    assert (len(gone.got), len(client.got)) == (0, 1)


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_WAITING", 2)
    client, waiting = Client(), Requests()
    for number in range(3):
        waiting.add(asked(str(number)), client.replied)
    for number in range(3):
        waiting.route(answer(str(number)))
    assert len(client.got) == 2


@pytest.mark.parametrize("parent", [b"[]", b"\xff", b'"text"'])
def test_a_parent_that_is_none(parent: bytes) -> None:
    with pytest.raises(BadMessage):
        Requests().route(Message("shell", [b"{}", parent, b"{}", b"{}"]))
