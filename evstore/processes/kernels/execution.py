"""One execution of a cell: who asked for it, how far it is, and what it has put out so far.

While a cell prints, each message costs no more than its place in a list. Every 32 KiB of them are
made one *piece*: texts joined, display ids noted. What the cell shows, in the form that documents
have, is only made when somebody wants to know. The rules are those of Jupyter's front ends:
https://jupyter-client.readthedocs.io/en/latest/messaging.html#messages-on-the-iopub-pub-sub-channel
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, cast

import orjson

from evstore.core import notebooks
from evstore.core.notebooks import Entry, Output
from evstore.processes.kernels.spool import Blob, Room, Spool

PIECE = 32 * 1024  # bytes of messages
RICH = 2  # how many times a text's limit what is no text may have: there is less of it, and it counts more
DISPLAYS = ("display_data", "execute_result")
PRESENCE = 10.0  # seconds after which a page that follows and asks no more is taken to be gone

NEVER = float("-inf")

LIMIT_NOTICE = (
    "\nevstore: what this cell prints from here on is not kept: the room for one cell's output, or for the "
    "output of this kernel, or of all, is used up (--max-cell-output, --kept-output-disk, --kept-output-total).\n"
)
NOTICE: Entry = ("stream", {"name": "stderr", "text": LIMIT_NOTICE})


class State(StrEnum):
    """How far an execution is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Asker(Protocol):
    """The client that asked for an execution."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def left_at(self) -> float:
        """The loop's time when it was connected last."""
        ...

    @property
    def has_left(self) -> bool:
        """Whether it went by itself: else it has only lost its connection."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Some messages of an execution, and the display ids that occur in them."""

    blob: Blob
    displays: frozenset[str] = frozenset()

    def entries(self) -> list[Entry]:
        return [(msg_type, content) for msg_type, content in notebooks.parse(self.blob.read())]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An execution's output at one moment. `outputs` is for a thread: it reads and parses all of it."""

    version: int
    count: int | None  # the number in the prompt
    pieces: tuple[Piece, ...]

    def outputs(self) -> list[Output]:
        return outputs(self.pieces)


def outputs(pieces: Sequence[Piece]) -> list[Output]:
    """What a cell shows that has received these pieces, and nothing else."""
    return notebooks.outputs(entry for piece in pieces for entry in piece.entries())


class Execution:
    """What is known of one execution."""

    def __init__(
        self, msg_id: str, cell: str, asker: Asker, room: Room, limit: int, source: bytes = b""
    ) -> None:
        self.id = msg_id
        self.cell = cell
        self.source = source  # the digest of what is executed, which the cell said then
        self.asker = asker
        self.state = State.QUEUED
        self.count: int | None = None  # the number in the prompt
        self.done_at = 0.0  # the loop's time
        self.is_cut = False  # the process that ran it has gone: nothing more comes
        self.version = 0  # grows with everything that can be seen
        self.settled = -1  # the version that is in the document, or in a client's hands
        self.epoch = 0  # grows when something that was shown is changed: what was read so far is void
        self._displays: set[str] = set()
        self.turn = asyncio.Lock()  # of whoever puts it into the document
        self._limit = limit
        self._spool = Spool(room)
        self._pieces: list[Piece] = []
        self._size = 0  # of the pieces, in bytes
        self._is_full = False
        self._pending: list[tuple[str, bytes]] = []  # type and content of messages that are in no piece yet
        self._pending_size = 0
        self._clears_next = False
        self.read_at = NEVER  # the loop's time when somebody read the document, and may be about to follow
        self.read_to_end_at: float | None = None  # the loop's time when a page had all of it, after its end
        self._followers = 0
        self._followed_at = NEVER
        self._present_until = NEVER

    # who is there

    def is_attended(self, now: float) -> bool:
        """Whether somebody sees what it puts out: whoever asked for it, or a page that follows it."""
        return self.asker.is_connected or self._followers > 0 or now < self._present_until

    @property
    def left_at(self) -> float:
        """The loop's time when somebody was last there."""
        return max(self.asker.left_at, self.read_at, self._followed_at)

    @property
    def is_expected_back(self) -> bool:
        """Whether whoever was there last has only lost the connection, as when a laptop sleeps."""
        return not self.asker.has_left and self.left_at == self.asker.left_at

    @contextmanager
    def followed(self) -> Generator[None]:
        """A page waits for news while the block runs. If it gets them, it will ask for more;
        if the block raises, it is gone."""
        self._followers += 1
        self._present_until = NEVER
        try:
            yield
            self._present_until = asyncio.get_running_loop().time() + PRESENCE
        finally:
            self._followers -= 1
            self._followed_at = asyncio.get_running_loop().time()

    @property
    def is_unsettled(self) -> bool:
        """Whether it has put out something that is neither in the document nor in a client's hands."""
        return self.state is not State.QUEUED and self.version != self.settled

    # what its messages say

    def add(self, msg_type: str, content: bytes) -> None:
        """A stream, display_data, execute_result or error came."""
        if self._clears_next:
            self._clear()
        if self.state is State.QUEUED:
            self.state = State.RUNNING
        self.version += 1
        self._pending.append((msg_type, content))
        self._pending_size += len(content)
        if self._pending_size > PIECE:
            self._make_piece()

    def display(self, msg_type: str, content: bytes) -> None:
        """As `add`, for one that may be updated later."""
        self.add(msg_type, content)
        name = display_id(_object(content)) if b'"display_id"' in content else None
        if name is not None:
            self._displays.add(name)

    def update(self, name: str, content: bytes) -> None:
        """An update_display_data came for what this execution has displayed under `name`."""
        if name in self._displays:
            self.version += 1
            self._make_piece()
            self._replace(name, _object(content))

    def clear(self, content: bytes) -> None:
        """A clear_output came: at once, or when the next output comes (`wait`)."""
        self._clears_next = True
        if not _object(content).get("wait"):
            self._clear()

    def start(self, count: Any) -> None:
        """The kernel has begun with it, and gave it this number."""
        if self.state is State.QUEUED:
            self.state = State.RUNNING
        self.version += 1
        if type(count) is int:
            self.count = count

    def finish(self) -> None:
        """The kernel is done with it, or has gone. Threads that it has started may still print."""
        if self.state is State.RUNNING:
            self.state = State.DONE
            self.done_at = asyncio.get_running_loop().time()
            self.version += 1

    # what it shows

    def snapshot(self) -> Snapshot:
        """Everything so far."""
        self._make_piece()
        return Snapshot(self.version, self.count, tuple(self._pieces))

    def after(self, epoch: int, count: int) -> Sequence[Piece] | None:
        """The pieces after the first `count`; None when what was read up to there is void."""
        self._make_piece()
        return self._pieces[count:] if epoch == self.epoch and 0 <= count <= len(self._pieces) else None

    @property
    def cursor(self) -> tuple[int, int]:
        """What `after` is to be asked for next, when all up to now has been read."""
        return self.epoch, len(self._pieces)

    @property
    def size(self) -> int:
        """Bytes of its output that are held, in memory or on disk."""
        return self._size + self._pending_size

    def close(self) -> None:
        """Give back its room. It shows nothing any more."""
        self._pending.clear()
        self._pending_size = 0
        self._drop_pieces()

    # inside

    def _clear(self) -> None:
        self._clears_next = False
        self._pending.clear()
        self._pending_size = 0
        self._drop_pieces()
        self._is_full = False
        self._displays.clear()
        self.epoch += 1
        self.version += 1

    def _drop_pieces(self) -> None:
        for piece in self._pieces:
            self._spool.drop(piece.blob)
        self._pieces.clear()
        self._size = 0

    def _make_piece(self) -> None:
        if not self._pending:
            return
        pending, self._pending, self._pending_size = self._pending, [], 0
        entries = notebooks.merged(_parsed(pending))
        limit = self._limit if not self._is_full else 0
        size = sum(len(content) for _, content in pending)
        if self._size + size > limit:
            entries = self._without_text(entries)
        if entries:
            self._keep(entries)

    def _without_text(self, entries: list[Entry]) -> list[Entry]:
        """The limit is reached: errors and displays still have some room, and it is said once."""
        kept = [entry for entry in entries if entry[0] != "stream"]
        if self._size > RICH * self._limit:
            kept = []
        if not self._is_full:
            self._is_full = True
            kept.append(NOTICE)
        return kept

    def _keep(self, entries: list[Entry]) -> None:
        piece = self._piece(entries)
        if piece is None and not self._is_full:  # the kernel's room is used up
            self._is_full = True
            piece = self._piece([NOTICE], always=True)
        if piece is not None:
            self._pieces.append(piece)
            self._size += piece.blob.size

    def _piece(self, entries: list[Entry], *, always: bool = False) -> Piece | None:
        blob = self._spool.put(notebooks.compact(entries), always=always)
        displays = (display_id(content) for msg_type, content in entries if msg_type in DISPLAYS)
        return Piece(blob, frozenset(name for name in displays if name is not None)) if blob else None

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        """Give all that is displayed under `name` this content."""
        for at, piece in enumerate(self._pieces):
            if name not in piece.displays:
                continue
            entries = [
                (msg_type, old | {key: content[key] for key in ("data", "metadata") if key in content})
                if msg_type in DISPLAYS and display_id(old) == name
                else (msg_type, old)
                for msg_type, old in piece.entries()
            ]
            if (new := self._piece(entries)) is not None:
                self._pieces[at] = new
                self._size += new.blob.size - piece.blob.size
                self._spool.drop(piece.blob)
        self.epoch += 1
        if self._spool.is_wasteful:
            self._compact()

    def _compact(self) -> None:
        """Move the pieces that lie on disk to a new file."""
        old = self._pieces
        self._spool.begin_anew()
        self._pieces = []
        for piece in old:
            blob = piece.blob if piece.blob.file is None else self._spool.put(piece.blob.read())
            if blob is not None:
                self._pieces.append(Piece(blob, piece.displays))


def display_id(content: dict[str, Any]) -> str | None:
    """The name under which a message's display can be updated."""
    transient = content.get("transient")
    name: object = (
        cast("dict[str, Any]", transient).get("display_id") if isinstance(transient, dict) else None
    )
    return name if isinstance(name, str) else None


def _parsed(pending: list[tuple[str, bytes]]) -> list[Entry]:
    """Messages with what their contents say. Text needs no exact numbers, and comes in masses."""
    try:
        return [
            (msg_type, orjson.loads(content) if msg_type == "stream" else _object(content))
            for msg_type, content in pending
        ]
    except orjson.JSONDecodeError:  # something is no JSON, or has half a character
        return [(msg_type, _object(content)) for msg_type, content in pending]


def _object(content: bytes) -> dict[str, Any]:
    """A message's content; empty for what is none."""
    try:
        value = notebooks.parse(content)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
