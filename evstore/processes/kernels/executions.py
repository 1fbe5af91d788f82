"""All executions of one kernel that may still have something to say to a document.

JupyterLab names the cell in each execute_request (`metadata.cellId`), and the cells that were
deleted since the last one (`metadata.deletedCells`). Other requests are nobody's cell and are not noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, cast

from evstore.core.errors import NotFound
from evstore.processes.kernels.execution import DISPLAYS, Asker, Execution, State, display_id
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.messages import BadMessage, json_object
from evstore.processes.kernels.spool import Room

REQUEST = b'"execute_request"'
TEXT = frozenset(("stream", "error"))
MAX_QUEUED = 10_000  # executions that are noted while they wait for their turn
MAX_DONE = 50  # that are remembered for the sake of threads that still print
UNCONFIRMED = 120.0  # seconds after which nothing that was sent can be on its way any more


class Executions:
    """What was asked for, and what came of it: by the id of the request."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = Room(limits)
        self._by_id: dict[str, Execution] = {}

    def __iter__(self) -> Iterator[Execution]:
        """The oldest first."""
        return iter(list(self._by_id.values()))

    @property
    def kept(self) -> tuple[int, int]:
        """Bytes of output that are kept for documents: in memory, and on disk."""
        return self._room.in_memory, self._room.on_disk

    def find(self, msg_id: object) -> Execution | None:
        return self._by_id.get(msg_id) if isinstance(msg_id, str) else None

    def get(self, msg_id: str) -> Execution:
        """The execution that this message asked for. Raises NotFound."""
        found = self._by_id.get(msg_id)
        if found is None:
            raise NotFound(f"No such execution, or nothing is to be told of it any more: {msg_id}")
        return found

    def unsettled(self) -> list[Execution]:
        """Those whose output is not all in a document, or with a client."""
        return [execution for execution in self._by_id.values() if execution.is_unsettled]

    # what clients do

    def asked(self, asker: Asker, parts: list[bytes]) -> None:
        """A client has sent this message."""
        if REQUEST not in parts[0]:
            return
        try:
            header, _, metadata, content = map(json_object, parts[:4])
        except BadMessage:
            return  # the kernel will say so
        for cell in _strings(metadata.get("deletedCells")):
            self._forget_cell(cell)
        msg_id, cell = header.get("msg_id"), metadata.get("cellId")
        if header.get("msg_type") != "execute_request" or content.get("silent"):
            return
        if isinstance(msg_id, str) and isinstance(cell, str) and cell and msg_id not in self._by_id:
            self._trim()
            if len(self._by_id) < MAX_QUEUED:
                source = digest_of(content.get("code"))
                self._by_id[msg_id] = Execution(msg_id, cell, asker, self._room, self._limits.cell, source)

    def left(self, asker: Asker, *, received_all: bool) -> None:
        """A client has gone. What was done by then, and has reached it, is its own affair.

        If it has only lost its connection, it may have crashed: then that counts only once it was saved.
        """
        now = asyncio.get_running_loop().time()
        for execution in self._by_id.values():
            has_arrived = received_all or now - execution.done_at > UNCONFIRMED
            if execution.asker is not asker or execution.state is not State.DONE or not has_arrived:
                continue
            if execution.read_to_end_at is None:
                execution.read_to_end_at = execution.done_at
            if asker.has_left:
                execution.settled = execution.version

    # what the kernel says

    def published(self, execution: Execution | None, msg_type: str, content: bytes, state: object) -> None:
        """A message came on iopub, in answer to what asked for `execution`."""
        if msg_type == "update_display_data":
            self._update(content)
        if execution is None or execution.id not in self._by_id:
            return
        if msg_type in TEXT:
            execution.add(msg_type, content)
        elif msg_type in DISPLAYS:
            execution.display(msg_type, content)
        elif msg_type == "clear_output":
            execution.clear(content)
        elif msg_type == "execute_input":
            execution.start(_object(content).get("execution_count"))
            self._forget_cell(execution.cell)
        elif state == "idle":
            execution.finish()
            if execution.state is State.QUEUED:  # the kernel has refused it, after an error in another cell
                self.forget(execution)

    def replied(self, parts: list[bytes]) -> None:
        """An execute_reply came. It, too, has the number, which not all kernels publish."""
        execution = self.find(_object(parts[1]).get("msg_id"))
        count = _object(parts[3]).get("execution_count")
        if execution is not None and execution.state is not State.QUEUED and type(count) is int:
            execution.count = count

    def stop(self) -> None:
        """The kernel has gone: nothing more comes, and what it has not begun with it never will."""
        for execution in self:
            execution.finish()
            execution.is_cut = True
            if execution.state is State.QUEUED:
                self.forget(execution)

    # letting go

    def forget(self, execution: Execution) -> None:
        """Nothing more is to be done about it."""
        if self._by_id.pop(execution.id, None) is not None:
            execution.close()

    def _forget_cell(self, cell: str) -> None:
        """The cell is run again, or has been deleted: what it showed before does not matter any more."""
        for execution in self:
            if execution.cell == cell and execution.state is State.DONE:
                self.forget(execution)

    def _trim(self) -> None:
        """Remember of what is done and delivered the last ones only, as long as there is room."""
        done = [one for one in self if one.state is State.DONE]
        free = [one for one in done if one.asker.is_connected or not one.is_unsettled]
        while free and (
            len(free) > MAX_DONE or self._room.in_memory > self._room.memory // 2 or self._room.on_disk
        ):
            self.forget(free.pop(0))

    def _update(self, content: bytes) -> None:
        name = display_id(_object(content))
        if name is not None:
            for execution in self._by_id.values():
                execution.update(name, content)


def digest_of(source: object) -> bytes:
    """By which a cell's text is known again."""
    return sha256(str(source).encode(errors="surrogatepass")).digest()


def _object(part: bytes) -> dict[str, Any]:
    try:
        return json_object(part)
    except BadMessage:
        return {}


def _strings(value: object) -> list[str]:
    if not isinstance(value, list):
        return []
    return [each for each in cast("list[object]", value) if isinstance(each, str)]
