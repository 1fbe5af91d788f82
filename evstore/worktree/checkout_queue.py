"""From the log to the disk, as it happens: what was committed is carried out in its order, and those who wrote it wait.

What could not be written, for lack of room or rights, is tried again every so often. What could not be renamed,
deleted or made is left as it is on the disk, and the next comparison lets the log follow that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from evstore.core.errors import EvstoreError, Exists, NotFound
from evstore.core.events import CommandId, Digest, EntryId, Offset, Recorded
from evstore.core.paths import ContentPath
from evstore.worktree.checkout import Checkout, Outcome
from evstore.worktree.disk.errors import FolderFailed
from evstore.worktree.folder_thread import FolderThread

logger = logging.getLogger(__name__)

REMEMBERED = 1_000  # failures whose writers have not asked yet, at most: some never do
ROOT_PATH = ContentPath("")


class CheckoutQueue:
    """The disk's way after the log. `done` is told what came of each piece of it."""

    def __init__(
        self, turns: FolderThread, writer: Checkout, offset: int, done: Callable[[Outcome], None]
    ) -> None:
        self.applied = offset  # up to here the disk has the log
        self.unwritten: set[EntryId] = set()  # entries that could not be written
        self._folder_thread = turns
        self._writer = writer
        self._done = done
        self._queue: list[tuple[Sequence[Recorded], Mapping[Digest, bytes]]] = []
        self._waiters: list[tuple[Sequence[Recorded], asyncio.Future[None]]] = []
        self._failed: OrderedDict[Offset, EvstoreError] = OrderedDict()
        self._own: set[CommandId] = set()
        self._follows = self._is_on_its_way = False

    def heard(self, recorded: Sequence[Recorded], plain: Mapping[Digest, bytes]) -> None:
        """Events that were committed, in the order of the log."""
        self._queue.append((recorded, plain))
        self._set_out()

    def own(self, command: CommandId) -> None:
        """By this command the disk is taken in: it has what the command says."""
        self._own.add(command)

    def own_is_done(self, command: CommandId) -> None:
        self._own.discard(command)

    async def reach(self, recorded: Sequence[Recorded]) -> None:
        """Wait until these events are on the disk. Raises what went wrong with them."""
        if recorded[0].command in self._own:
            return
        if recorded[-1].offset > self.applied:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((recorded, waiter))
            await waiter
        else:
            self._raise_failed(recorded)

    def follow(self) -> None:
        """From now on, what is heard is carried out at once."""
        self._follows = True
        self._set_out()

    def _set_out(self) -> None:
        if self._follows and self._queue and not self._is_on_its_way:
            self._is_on_its_way = True
            self._folder_thread.begin(self._turn())

    async def _turn(self) -> None:
        try:
            async with self._folder_thread.lock:
                await self.drain()
        finally:
            self._is_on_its_way = False

    async def drain(self) -> None:
        """Carry out what has been committed. Only in a turn."""
        while self._queue:
            queue, self._queue = self._queue, []
            foreign = [(recorded, plain) for recorded, plain in queue if recorded[0].command not in self._own]
            events = [one for recorded, _ in foreign for one in recorded]
            bodies = {digest: body for _, plain in foreign for digest, body in plain.items()}
            try:
                if events:
                    self._take_note(await self._apply(events, bodies))
            finally:
                self.applied = queue[-1][0][-1].offset
                self._answer()

    async def _apply(self, events: Sequence[Recorded], bodies: Mapping[Digest, bytes]) -> Outcome:
        try:
            return await self._folder_thread.run(lambda tx: self._writer.apply(tx, events, bodies))
        except Exception:
            # whatever it is, nobody must wait for ever; a comparison will show what is on the disk
            logger.exception("What was written could not be carried out in the folder")
            failed: dict[Offset, EvstoreError] = {one.offset: FolderFailed() for one in events}
            return Outcome(failed, dirty={ROOT_PATH}, doubtful=True)

    async def write_out(self, entries: Iterable[EntryId]) -> None:
        """Write what the log has and the disk has not, with all that is below. Only in a turn."""
        entries = set(entries)
        if not entries:
            return
        outcome = await self._folder_thread.run(lambda tx: self._writer.write_out(tx, entries))
        self.unwritten -= entries - outcome.refused.keys()
        self._take_note(outcome)

    async def try_again(self) -> None:
        """Write what could not be written before. Only in a turn."""
        await self.write_out(self.unwritten)

    def caught_up(self, outcome: Outcome) -> None:
        """What a start found missing on the disk has been done."""
        self._take_note(outcome)
        self._failed.clear()  # nobody waits for these

    def _take_note(self, outcome: Outcome) -> None:
        for offset, error in outcome.failed.items():
            _tell(f"The folder does not have what the log says at offset {offset}", error)
            self._failed[offset] = error
        while len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)
        if not outcome.failed:  # which has been told
            for entry in outcome.refused.keys() - self.unwritten:
                _tell("The folder does not have something that is in the log", outcome.refused[entry])
        self.unwritten |= outcome.refused.keys()
        self._done(outcome)

    def _raise_failed(self, recorded: Sequence[Recorded]) -> None:
        errors = [self._failed.pop(one.offset) for one in recorded if one.offset in self._failed]
        if errors:
            raise errors[0]

    def _answer(self) -> None:
        waiters, self._waiters = self._waiters, []
        for recorded, waiter in waiters:
            if recorded[-1].offset > self.applied:
                self._waiters.append((recorded, waiter))
            elif not waiter.done():
                try:
                    self._raise_failed(recorded)
                    waiter.set_result(None)
                except EvstoreError as error:
                    waiter.set_exception(error)


def _tell(what: str, why: EvstoreError) -> None:
    # what somebody has just put in the way, or taken away, is no fault of the folder's
    level = logging.INFO if isinstance(why, NotFound | Exists) else logging.WARNING
    logger.log(level, "%s: %s", what, why.message)
