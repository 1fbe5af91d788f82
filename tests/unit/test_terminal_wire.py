"""The frames of a terminal's websocket, and what is replayed to a client that comes later."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.core.errors import Invalid
from evstore.processes.terminals import wire
from evstore.processes.terminals.replay import Replay
from evstore.processes.terminals.wire import Resized, Typed


@pytest.mark.parametrize(
    ("frame", "means"),
    [
        ('["stdin", "ls\\r"]', Typed("ls\r")),
        (b'["stdin", "\xc3\xa9"]', Typed("é")),
        ('["stdin", "", "more"]', Typed("")),
        ('["set_size", 30, 90, 400, 600]', Resized(30, 90)),
        ('["set_size", 30, 90]', Resized(30, 90)),
        ('["set_size", null, null, 0, 0]', None),
        ('["set_size", 0, 90]', None),
        ('["set_size", -1, 90]', None),
        ('["set_size", 30, 65536]', None),
        ('["set_size", true, 90]', None),
        ('["set_size", 30.5, 90]', None),
        ('["set_size", "30", "90"]', None),
        ('["set_size", 30]', None),
        ('["set_size"]', None),
        ('["switch_terminal", "2"]', None),
        ('["stdout", "x"]', None),
    ],
)
def test_frames(frame: str | bytes, means: object) -> None:
    assert wire.parse(frame) == means


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "ls\r",
        "{}",
        '{"stdin": "ls"}',
        "[]",
        "[1]",
        "[null]",
        '[["stdin", "x"]]',
        '"stdin"',
        "7",
        "null",
        '["stdin"]',
        '["stdin", 5]',
        '["stdin", null]',
        '["stdin", ["x"]]',
        '["stdin", "\\ud800"]',
        b'["stdin", "\xff"]',
        "[" * 100_000,
    ],
)
def test_what_is_no_frame(frame: str | bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        wire.parse(frame)
    assert len(refusal.value.message.encode()) <= 123, "it must fit into a close frame"


@given(st.one_of(st.text(), st.binary(), st.lists(st.one_of(st.text(), st.integers(), st.none())).map(repr)))
def test_nothing_but_invalid_is_ever_raised(frame: str | bytes) -> None:
    with contextlib.suppress(Invalid):
        wire.parse(frame)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x1b")), max_size=30))
def test_a_replay_is_the_end_of_what_was_printed(pieces: list[str]) -> None:
    replay = Replay(10)
    for piece in pieces:
        replay.add(piece)
    whole, end = "".join(pieces), replay.text
    assert whole.endswith(end)
    assert len(end) <= 10
    if len(whole) <= 10:
        assert end == whole
    elif "\n" in whole[-10:-8]:
        assert whole.removesuffix(end).endswith("\n"), "it begins with a line"


def test_one_piece_larger_than_all_is_cut() -> None:
    replay = Replay(30)
    replay.add("".join(f"line {number}\n" for number in range(10, 99)))
    assert replay.text == "line 96\nline 97\nline 98\n"


@pytest.mark.parametrize(
    "question",
    [
        *("\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[>0c", "\x1b[=c", "\x1bZ", "\x1b[5n", "\x1b[6n", "\x1b[?6n"),
        *("\x1b[?2026$p", "\x1b[4$p", "\x1b[>q", "\x1b[>0q", "\x1b[?u", "\x1b[18t", "\x1b[14;2t"),
        *("\x1b]11;?\x07", "\x1b]10;?\x1b\\", "\x1b]4;1;?\x07", "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\"),
    ],
)
def test_a_replay_does_not_ask_again(question: str) -> None:
    """The terminal would answer, and the shell take that for input."""
    replay = Replay()
    replay.add("a" + question[:2])
    replay.add(question[2:] + "b")
    assert replay.text == "ab"


@pytest.mark.parametrize(
    "said", ["\x1b[1;31mred\x1b[0m", "\x1b[?2004h", "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\x1b[8;30;90t"]
)
def test_what_is_not_a_question_stays(said: str) -> None:
    replay = Replay()
    replay.add(said)
    assert replay.text == said


def test_of_one_long_line_the_end_remains() -> None:
    replay = Replay(100)
    replay.add("x" * 1000 + "end\n")
    assert replay.text == "x" * 96 + "end\n"
