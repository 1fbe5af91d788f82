"""What a cell shows after the messages of its execution: Jupyter's rules, as a table."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from evstore.core.units import MIB
from evstore.processes.kernels import execution as module
from evstore.processes.kernels import spool
from evstore.processes.kernels.execution import Execution, State, outputs
from evstore.processes.kernels.executions import Executions
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.spill_file import DiskSpace

pytestmark = pytest.mark.asyncio  # executions know the loop's time


def limits(
    *, memory: int = 8 * MIB, disk: int = 100 * MIB, cell: int = MIB, total: int = 100 * MIB
) -> Limits:
    return Limits(memory=memory, disk=disk, cell=cell, space=DiskSpace(total))


@dataclass
class Page:
    """The client that asked."""

    is_connected: bool = True
    left_at: float = 0.0
    has_left: bool = True


Said = tuple[str, dict[str, Any]]


def stream(text: str, name: str = "stdout") -> Said:
    return "stream", {"name": name, "text": text}


def display(text: str, name: str | None = None) -> Said:
    return "display_data", {
        "data": {"text/plain": text},
        "metadata": {},
        "transient": {"display_id": name} if name else {},
    }


def update(text: str, name: str) -> Said:
    return "update_display_data", display(text, name)[1]


def clear(*, wait: bool) -> Said:
    return "clear_output", {"wait": wait}


def result(text: str) -> Said:
    return "execute_result", {"data": {"text/plain": text}, "metadata": {"m": 1}, "execution_count": 4}


ERROR: Said = ("error", {"ename": "E", "evalue": "v", "traceback": ["t", "u"]})


def shown(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def displayed(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


RULES: dict[str, tuple[list[Said], list[dict[str, Any]]]] = {
    "nothing": ([], []),
    "text is merged": ([stream("a\n"), stream("b"), stream("c\n")], [shown("a\nbc\n")]),
    "by name": (
        [stream("a"), stream("b", "stderr"), stream("c", "stderr"), stream("d")],
        [shown("a"), shown("bc", "stderr"), shown("d")],
    ),
    "not across a display": (
        [stream("a"), display("x"), stream("b")],
        [shown("a"), displayed("x"), shown("b")],
    ),
    "carriage returns and backspaces stay": ([stream("1%\r"), stream("2%\rx\b")], [shown("1%\r2%\rx\b")]),
    "no document has a display's id": ([display("x", "i")], [displayed("x")]),
    "result": (
        [result("1")],
        [
            {
                "output_type": "execute_result",
                "data": {"text/plain": "1"},
                "metadata": {"m": 1},
                "execution_count": 4,
            }
        ],
    ),
    "error": ([ERROR], [{"output_type": "error", **ERROR[1]}]),
    "cleared": ([stream("a"), display("x"), clear(wait=False)], []),
    "cleared, and on": ([stream("a"), clear(wait=False), stream("b")], [shown("b")]),
    "text before and after is not one": (
        [stream("a"), clear(wait=True), stream("b"), stream("c")],
        [shown("bc")],
    ),
    "cleared with the next": ([display("x"), clear(wait=True)], [displayed("x")]),
    "cleared with the next, which came": ([display("x"), clear(wait=True), display("y")], [displayed("y")]),
    "cleared at once after all": ([display("x"), clear(wait=True), clear(wait=False)], []),
    "an update does not clear": (
        [display("x", "i"), clear(wait=True), update("y", "i")],
        [displayed("y")],
    ),
    "updated": ([display("x", "i"), stream("a"), update("y", "i")], [displayed("y"), shown("a")]),
    "updated everywhere": (
        [display("x", "i"), display("x", "i"), display("z", "j"), update("y", "i")],
        [displayed("y"), displayed("y"), displayed("z")],
    ),
    "updated twice": ([display("x", "i"), update("y", "i"), update("z", "i")], [displayed("z")]),
    "an update of nothing": ([display("x"), update("y", "i")], [displayed("x")]),
    "an update of what was cleared": ([display("x", "i"), clear(wait=False), update("y", "i")], []),
    "what is no output": (
        [
            ("stream", {"name": "stdout"}),
            ("stream", {"name": 3, "text": []}),
            ("display_data", {}),
            ("display_data", {"data": 1, "metadata": {}}),
            ("error", {"ename": 1}),
            stream("a"),
        ],
        [shown("a")],
    ),
}


def ask(
    executions: Executions, msg_id: str = "1", cell: str = "c", asker: Page | None = None, **metadata: Any
) -> None:
    header = {"msg_id": msg_id, "msg_type": "execute_request"}
    parts = [header, {}, {"cellId": cell} | metadata, {"code": "x", "silent": False}]
    executions.asked(asker or Page(), [json.dumps(part).encode() for part in parts])


def say(executions: Executions, said: Said, msg_id: str = "1") -> None:
    content = json.dumps(said[1]).encode()
    executions.published(executions.find(msg_id), said[0], content, said[1].get("execution_state"))


def begin(executions: Executions, msg_id: str = "1", **options: Any) -> Execution:
    ask(executions, msg_id, **options)
    say(executions, ("execute_input", {"execution_count": 4}), msg_id)
    return executions.get(msg_id)


def end(executions: Executions, msg_id: str = "1") -> None:
    say(executions, ("status", {"execution_state": "idle"}), msg_id)


@pytest.fixture
def executions() -> Executions:
    return Executions(limits())


@pytest.mark.parametrize("piece", [0, module.PIECE], ids=["each message is a piece", "all are one"])
@pytest.mark.parametrize("rule", RULES)
async def test_rules(executions: Executions, monkeypatch: pytest.MonkeyPatch, rule: str, piece: int) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    said, expected = RULES[rule]
    execution = begin(executions)
    for one in said:
        say(executions, one)
    assert execution.snapshot().outputs() == expected
    assert execution.snapshot().count == 4


async def test_a_display_is_updated_by_another_cell(executions: Executions) -> None:
    first = begin(executions, "1", cell="a")
    say(executions, display("x", "i"))
    end(executions)
    begin(executions, "2", cell="b")
    executions.published(None, "update_display_data", json.dumps(update("y", "i")[1]).encode(), None)
    assert first.snapshot().outputs() == [displayed("y")]


async def test_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 1000)
    executions = Executions(limits(memory=3000))
    execution = begin(executions)
    said = [stream(f"{number:<500}\n") for number in range(100)]
    for one in said:
        say(executions, one)
    assert execution.snapshot().outputs() == [shown("".join(one[1]["text"] for one in said))]
    assert executions._room.in_memory <= 3000
    assert executions._room.on_disk > 40_000
    executions.forget(execution)
    assert (executions._room.in_memory, executions._room.on_disk) == (0, 0)


async def test_displays_that_are_updated_for_ever_take_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 0)
    monkeypatch.setattr(spool, "WASTE", 50_000)
    executions = Executions(limits(memory=0))
    execution = begin(executions)
    for one in (stream("before"), display("x", "i"), stream("after")):
        say(executions, one)
    for number in range(500):
        say(executions, update(f"{number:<1000}", "i"))
    assert executions._room.on_disk < 60_000
    assert execution.snapshot().outputs() == [shown("before"), displayed(f"{499:<1000}"), shown("after")]


async def test_a_snapshot_can_be_read_when_all_has_gone_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 0)
    executions = Executions(limits(memory=0))
    execution = begin(executions)
    say(executions, stream("x"))
    snapshot = execution.snapshot()
    say(executions, clear(wait=False))
    executions.forget(execution)
    assert await asyncio.to_thread(snapshot.outputs) == [shown("x")]


@pytest.mark.parametrize(
    "limit",
    [limits(cell=2000), limits(memory=0, disk=3000), limits(memory=0, disk=30_000, total=3000)],
    ids=["of a cell", "of a kernel", "of all"],
)
async def test_a_limit_is_said_once(monkeypatch: pytest.MonkeyPatch, limit: Limits) -> None:
    monkeypatch.setattr(module, "PIECE", 100)
    execution = begin(executions := Executions(limit))
    for number in range(100):
        say(executions, stream(f"{number:<100}\n"))
    found = execution.snapshot().outputs()
    assert [one["name"] for one in found] == ["stdout", "stderr"]
    assert found[1] == shown(module.LIMIT_NOTICE, "stderr")
    if limit.memory:  # the end of a cell counts more than its text
        say(executions, ERROR)
        assert execution.snapshot().outputs()[-1]["output_type"] == "error"
    assert execution.size < 5000
    say(executions, clear(wait=False))
    say(executions, stream("anew"))
    assert execution.snapshot().outputs() == [shown("anew")]


async def test_pieces_after_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    execution = begin(executions := Executions(limits()))
    say(executions, stream("a"))
    execution.snapshot()
    at = execution.cursor
    say(executions, stream("b"))
    new = execution.after(*at)
    assert new is not None and outputs(new) == [shown("b")]
    say(executions, clear(wait=False))
    assert execution.after(*at) is None
    assert execution.after(execution.cursor[0], 99) is None


# whose output waits


async def test_queued_executions_have_nothing_to_say(executions: Executions) -> None:
    ask(executions)
    assert executions.get("1").state is State.QUEUED
    assert executions.unsettled() == []
    executions.stop()
    assert executions.find("1") is None


async def test_an_execution_that_was_refused_is_forgotten(executions: Executions) -> None:
    ask(executions)
    end(executions)
    assert executions.find("1") is None


async def test_what_was_done_and_received_is_settled(executions: Executions) -> None:
    page = Page()
    execution = begin(executions, asker=page)
    end(executions)
    page.is_connected = False
    executions.left(page, received_all=True)
    assert executions.unsettled() == []
    say(executions, stream("a thread goes on"))
    assert executions.unsettled() == [execution]


async def test_what_was_done_and_perhaps_not_received_is_not(executions: Executions) -> None:
    execution = begin(executions, asker=(page := Page()))
    end(executions)
    executions.left(page, received_all=False)
    assert executions.unsettled() == [execution]


async def test_what_is_not_done_when_its_page_leaves_is_not_settled(executions: Executions) -> None:
    execution = begin(executions, asker=(page := Page()))
    executions.left(page, received_all=True)
    assert executions.unsettled() == [execution]


async def test_a_cell_that_runs_again_shows_its_new_output_only(executions: Executions) -> None:
    begin(executions, "1")
    ask(executions, "2")
    end(executions, "1")
    assert executions.find("1") is not None  # until the new one begins
    say(executions, ("execute_input", {"execution_count": 5}), "2")
    assert executions.find("1") is None
    assert executions.get("2").snapshot().count == 5


async def test_a_deleted_cell_is_forgotten(executions: Executions) -> None:
    begin(executions, "1", cell="gone")
    end(executions, "1")
    ask(executions, "2", cell="other", deletedCells=["gone", 3])
    assert executions.find("1") is None


@pytest.mark.parametrize(
    "metadata", [{"cellId": 3}, {"cellId": ""}, {"cellId": None}, {"deletedCells": {"a": 1}, "cellId": []}]
)
async def test_what_is_no_cell_is_not_noted(executions: Executions, metadata: dict[str, Any]) -> None:
    ask(executions, "1", **metadata)
    assert list(executions) == []


async def test_what_is_done_is_not_remembered_without_end(executions: Executions) -> None:
    page = Page()
    for number in range(200):
        begin(executions, str(number), cell=f"c{number}", asker=page)
        end(executions, str(number))
    assert len(list(executions)) < 60
    assert executions.find("199") is not None


async def test_the_reply_has_the_number_too(executions: Executions) -> None:
    ask(executions)
    say(executions, stream("a kernel that does not publish its input"))
    executions.replied([b"{}", b'{"msg_id": "1"}', b"{}", b'{"execution_count": 7}'])
    assert executions.get("1").snapshot().count == 7
