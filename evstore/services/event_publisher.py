"""What happens here, told to whoever listens at /api/events, in the events whose schemas jupyter_server publishes.

Changes of contents come from the log, whoever made them; what is done to kernels from the kernels. While nobody
listens nothing is read or made. What is told is an event of Jupyter, and what the log holds is one of
ours: here, and only here, both have that name. (Source: jupyter_server/event_schemas, and jupyter_events,
which knows the schemas and checks what is emitted.)

Reading is not told: jupyter_server emits `get` on each, but the log knows nothing of it, and JupyterLab
looks at every open folder every ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evstore.core.errors import Invalid
from evstore.core.events import (
    CommandId,
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    FileRestored,
    FileSaved,
    Kind,
    Offset,
    Recorded,
)
from evstore.core.notebooks.quick_import import import_quickly
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log.engine.base import Tx
from evstore.processes.kernels.actions import Action
from evstore.processes.kernels.manager import Kernels
from evstore.projections import tree
from evstore.store.store import Store

if TYPE_CHECKING:
    from jupyter_events import EventLogger

logger = logging.getLogger(__name__)

Data = dict[str, Any]
IDS = "https://events.jupyter.org/jupyter_server"
CONTENTS = f"{IDS}/contents_service/v1"
KERNEL_ACTIONS = f"{IDS}/kernel_actions/v1"
DONE = {"start": "started", "interrupt": "interrupted", "restart": "restarted", "shutdown": "shutdown"}
MAX_WAITING = 8 * MIB  # bytes that one listener may be behind
AT_ONCE = 50  # events that are emitted before other requests get their turn


class Listener:
    """One who listens, and what they have not been sent yet."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._is_lost = False

    def put(self, message: bytes) -> None:
        """One more message; who is too far behind has lost all."""
        if self._size + len(message) > MAX_WAITING:
            self.lose()
        elif not self._is_lost:
            self._waiting.append(message)
            self._size += len(message)
            self._wake.set()

    def lose(self) -> None:
        """There is something that this listener will never hear."""
        self._is_lost = True
        self._waiting.clear()
        self._wake.set()

    async def next(self) -> bytes | None:
        """The next message, JSON; None when there are gaps from here on."""
        while not self._waiting and not self._is_lost:
            self._wake.clear()
            await self._wake.wait()
        if self._is_lost:
            return None
        message = self._waiting.popleft()
        self._size -= len(message)
        return message


class EventPublisher:
    """Emits events, and passes them on to the listeners."""

    def __init__(self, store: Store, kernels: Kernels) -> None:
        self._store = store
        self._events: EventLogger | None = None  # until somebody listens, or emits something
        self._loading = asyncio.Lock()
        self._listeners: set[Listener] = set()
        self._following: asyncio.Task[None] | None = None
        kernels.actions.subscribe(self._heard_of_kernel)

    async def events(self) -> EventLogger:
        """jupyter_events' logger, with the schemas that jupyter_server publishes."""
        async with self._loading:
            if self._events is None:
                self._events = await asyncio.to_thread(load_events)
        return self._events

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Listener]:
        """A listener, who hears what happens during the block."""
        listener, events = Listener(), await self.events()
        if not self._listeners:
            events.add_listener(listener=self._pass_on)
            self._following = asyncio.create_task(self._follow())
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                events.remove_listener(listener=self._pass_on)
                if self._following is not None:
                    self._following.cancel()

    async def post(self, data: Data) -> None:
        """Emit what a client sends: `schema_id`, `version`, `data`, and perhaps `timestamp`.

        As in jupyter_server, `data` is checked only when somebody listens. Raises Invalid.
        """
        for key in ("schema_id", "version", "data"):
            if key not in data:
                raise Invalid(f"Missing `{key}` in the JSON request body.")
        events = await self.events()
        schema_id, version = data["schema_id"], str(data["version"])
        if not isinstance(schema_id, str) or schema_id not in events.schemas:
            raise Invalid(f"The requested schema, {schema_id}, was not found in the schema registry.")
        known = str(events.schemas.get(schema_id).version)
        if version != known:
            raise Invalid(f"Unregistered version: {version!r}≠{known!r} for `{schema_id}`")
        when = _timestamp(data["timestamp"]) if "timestamp" in data else None
        try:
            events.emit(schema_id=schema_id, data=data["data"], timestamp_override=when)
        except Exception as error:  # jupyter_events raises what its libraries raise, for bad data only
            raise Invalid(f"The data is not what {schema_id} says: {error}") from None

    def emit(self, schema_id: str, data: Data) -> None:
        """Tell the listeners, if there are any. `data` must be as the schema says."""
        if self._listeners and self._events is not None:
            self._events.emit(schema_id=schema_id, data=data)

    async def _pass_on(self, logger: EventLogger, schema_id: str, data: Data) -> None:
        """An event has been emitted: to the websockets, as jupyter_server sends it."""
        message = orjson.dumps({"schema_id": schema_id} | data)
        for listener in self._listeners:
            listener.put(message)

    async def _follow(self) -> None:
        """Tell what is appended to the log, while somebody listens."""
        try:
            changes = Changes()
            async for page in self._store.feed(self._store.offset):
                told = await self._store.read(lambda tx, page=page: changes.tell(tx, page))
                for number, data in enumerate(told, 1):
                    self.emit(CONTENTS, data)
                    if number % AT_ONCE == 0:
                        await asyncio.sleep(0)
        except Exception:
            logger.exception("The changes of contents can't be told any more")
            for listener in self._listeners:
                listener.lose()
            raise

    def _heard_of_kernel(self, done: Action) -> None:
        data = {"action": done.action, "kernel_name": done.name}
        if done.kernel_id is not None:
            data["kernel_id"] = done.kernel_id
        if done.error is None:
            data |= {"status": "success", "msg": f"Kernel {done.kernel_id} was {DONE[done.action]}."}
        else:
            data |= {"status": "error", "msg": done.error}
        self.emit(KERNEL_ACTIONS, data)


def load_events() -> EventLogger:
    """For a thread: importing jupyter_events and reading the schemas takes a tenth of a second."""
    events = import_quickly("jupyter_events").EventLogger()
    for folder in files("jupyter_server").joinpath("event_schemas").iterdir():
        events.register_event_schema(Path(str(folder.joinpath("v1.yaml"))))
    return events


class Changes:
    """From the log's events to Jupyter's, which tells of files and folders by path and has fewer words.

    One event for each thing that somebody did: a file that is made and filled is saved, a copy is a
    copy with all that is in it.
    """

    def __init__(self) -> None:
        self._command: CommandId | None = None
        self._copies: set[EntryId] = set()  # what this command has made by copying

    def tell(self, tx: Tx, page: Sequence[Recorded]) -> list[Data]:
        """What to tell of these events, which follow those of the call before."""
        told = (self._tell(tx, recorded) for recorded in page)
        return [data for data in told if data is not None]

    def _tell(self, tx: Tx, recorded: Recorded) -> Data | None:
        entry, offset = recorded.entry, recorded.offset
        if recorded.command != self._command:
            self._command, self._copies = recorded.command, set()
        match recorded.event:
            case EntryCreated(copied_from=source, parent=parent) if source is not None:
                self._copies.add(entry)
                if parent in self._copies:
                    return None
                return _event("copy", _path(tx, entry, offset), _path(tx, source, offset))
            case EntryCreated(kind=Kind.DIRECTORY) | EntryUndeleted() | FileRestored():
                return _event("save", _path(tx, entry, offset))
            case FileSaved():
                return None if entry in self._copies else _event("save", _path(tx, entry, offset))
            case EntryMoved():
                old, new = _path(tx, entry, offset - 1), _path(tx, entry, offset)
                return _event("rename", new, old)
            case EntryDeleted():
                return _event("delete", _path(tx, entry, offset - 1))
            case _:  # checkpoints, trust: nothing that jupyter_server tells of
                return None


def _path(tx: Tx, entry: EntryId, at: int) -> ContentPath | None:
    """A path to tell of: None for what is not in the tree, or hidden."""
    path = tree.path_of(tx, entry, Offset(at))
    return None if path is None or path.hidden else path


def _event(action: str, path: ContentPath | None, source: ContentPath | None = None) -> Data | None:
    if path is None:
        return None
    return {"action": action, "path": str(path)} | ({} if source is None else {"source_path": str(source)})


def _timestamp(value: object) -> datetime:
    """The time of an event, in the form that jupyter_server wants: an offset, and a Z nonetheless."""
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S%zZ")
    except ValueError:
        raise Invalid(
            "Failed to parse timestamp from JSON request body, an ISO format datetime string with UTC offset "
            "is expected, for example, 2022-05-26T13:50:00+05:00Z"
        ) from None
