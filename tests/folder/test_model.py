"""Random changes on both sides, with restarts and crashes in between: the two sides end up the same, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.store.store import UnitOfWork
from tests.folder.both_sides import AUTHOR, BothSides, Complaints

NAMES = ["a", "b", "c.txt", "n.ipynb", "é"]
EXPECTED = "was in the way"  # what is said when something unknown had to be given another name
names = st.sampled_from(NAMES)
texts = st.sampled_from([b"", b"one", b"two", b"\0\0\0", b"x" * 5000])
picks = st.integers(0, 1 << 16)
Wish = tuple[str, int, int, str, bytes]
wishes = st.tuples(
    st.sampled_from(
        ["save", "save", "make", "move", "copy", "delete", "undelete", "restore", "checkpoint", "go back"]
    ),
    picks,
    picks,
    names,
    texts,
)
deeds = st.tuples(
    st.sampled_from(
        [
            "write",
            "write",
            "replace",
            "mkdir",
            "move",
            "move",
            "delete",
            "swap",
            "again",
            "turn",
            "link",
            "touch",
            "mode",
            "sneak",
            "date",
        ]
    ),
    picks,
    picks,
    names,
    texts,
)


class Sides(RuleBasedStateMachine):
    """Clients wish, programs do deeds on the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.trouble: list[Any] = []
        self.loop.set_exception_handler(lambda loop, context: self.trouble.append(context))
        self.complaints = Complaints()
        logging.getLogger("evstore").addHandler(self.complaints)
        self.place = tempfile.TemporaryDirectory()
        self.both = BothSides(Path(self.place.name))
        self.is_up = False
        self.trace: list[
            str
        ] = []  # for whoever has to find out why; not all of this happens the same way twice

    def note(self, *step: object) -> None:
        self.trace.append(" ".join(map(repr, step)))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    @initialize(before=st.lists(deeds, max_size=3))
    def begin(self, before: list[Wish]) -> None:
        for deed in before:
            self.do(deed)
        self.run(self.both.open())
        self.is_up = True

    # -- clients -----------------------------------------------------------------------

    async def wish(self, wish: Wish) -> None:
        what, one, other, name, text = wish
        both, author = self.both, Author.new(AUTHOR)
        found = await both.tree()
        paths = [ContentPath(path) for path in sorted(found)]
        directories = [ContentPath(""), *(path for path in paths if found[path] is None)]
        path = paths[one % len(paths)] if paths else ContentPath("a")
        new = directories[other % len(directories)].child(name)
        offset = one % (both.store.offset + 1)
        works: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "save": lambda: both.save(new if one % 2 or found.get(path) is None else path, text),
            "make": lambda: both.contents.create_directory(new, author),
            "move": lambda: both.contents.move(path, new, author),
            "copy": lambda: both.contents.copy(path, new, author, exact=True),
            "delete": lambda: both.contents.delete(path, author),
            "undelete": lambda: self.undelete(one, None if other % 2 else new),
            "restore": lambda: both.history.restore(directories[other % len(directories)], offset, author),
            "checkpoint": lambda: both.checkpoints.create(path, author),
            "go back": lambda: both.checkpoints.restore(path, offset, author),
        }
        done = await both.try_to(works[what]())
        self.note(what, path, new, text[:3], offset, directories[other % len(directories)], done)

    async def undelete(self, pick: int, path: ContentPath | None) -> None:
        deleted = await self.both.history.deleted(ContentPath(""))
        if deleted:
            entry = deleted[pick % len(deleted)].entry
            await self.both.history.undelete(entry, path, Author.new(AUTHOR))

    @rule(wish=wishes)
    def client(self, wish: Wish) -> None:
        self.run(self.wish(wish))

    @rule(wishes=st.lists(wishes, min_size=2, max_size=4))
    def clients_at_once(self, wishes: list[Wish]) -> None:
        async def together() -> None:
            await asyncio.gather(*map(self.wish, wishes))

        self.run(together())

    @rule(wish=wishes, deed=deeds)
    def both_at_once(self, wish: Wish, deed: Wish) -> None:
        async def together() -> None:
            await asyncio.gather(self.wish(wish), asyncio.to_thread(self.do, deed))

        self.run(together())

    @rule(wish=wishes, patience=st.integers(0, 20))
    def client_who_goes_away(self, wish: Wish, patience: int) -> None:
        async def leave() -> None:
            task = asyncio.create_task(self.wish(wish))
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            # what it wished may be on its way all the same: commands run in the order of their calls
            await self.both.store.write(_nothing, Author.new(AUTHOR))

        self.run(leave())

    # -- the disk ----------------------------------------------------------------------

    def do(self, deed: Wish) -> None:
        try:
            self._do(*deed)
        except OSError as error:  # what is not possible, or was meanwhile changed by a client
            self.note("disk", deed, error)

    def _do(self, what: str, one: int, other: int, name: str, text: bytes) -> None:
        root = self.both.root
        found = self.both.disk()
        paths = sorted(found)
        files = [root / path for path in paths if found[path] is not None]
        directories = [root, *(root / path for path in paths if found[path] is None)]
        new = directories[other % len(directories)] / name
        path = root / paths[one % len(paths)] if paths else None
        file = files[one % len(files)] if files else None
        self.note("disk", what, one, other, str(path), str(file), str(new), text[:3])
        if what == "write":
            (file if file and one % 2 else new).write_bytes(text)
        elif what == "replace":
            aside = root / ".being-saved"
            aside.write_bytes(text)
            os.replace(aside, file or new)
        elif what == "mkdir":
            new.mkdir()
        elif path is None:
            return
        elif what == "move":
            os.rename(path, new)
        elif what == "delete":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif what == "swap":
            self._swap(path, root / paths[other % len(paths)])
        elif what == "again":
            self._make_again(path, name, text)
        elif what == "turn":
            if path.is_dir():
                shutil.rmtree(path)
                path.write_bytes(text)
            else:
                path.unlink()
                path.mkdir()
        elif file is None:
            return
        elif what == "link":
            os.link(file, new)
        elif what == "touch":
            os.utime(file)
        elif what == "mode":
            file.chmod(file.stat().st_mode ^ 0o111)
        elif what == "date":
            os.utime(file, (one, [0, 4_000_000_000, 10][other % 3]))
        elif what == "sneak":  # other bytes of the same size and date
            data, was = file.read_bytes(), file.stat()
            aside = root / ".being-saved"
            aside.write_bytes(bytes(byte ^ 1 for byte in data))
            os.utime(aside, ns=(was.st_atime_ns, was.st_mtime_ns))
            os.replace(aside, file)

    def _swap(self, one: Path, other: Path) -> None:
        aside = self.both.root / ".aside"
        os.rename(one, aside)
        try:
            os.rename(other, one)
            os.rename(aside, other)
        finally:
            if aside.exists():  # one of them was within the other
                os.rename(aside, self.both.root / f"x{len(os.listdir(self.both.root))}")

    def _make_again(self, path: Path, name: str, text: bytes) -> None:
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
            (path / name).write_bytes(text)
        else:
            path.unlink()
            path.write_bytes(text)

    @rule(deeds=st.lists(deeds, min_size=1, max_size=4))
    def programs(self, deeds: list[Wish]) -> None:
        for deed in deeds:
            self.do(deed)

    # -- ends and beginnings -----------------------------------------------------------

    @rule(deeds=st.lists(deeds, max_size=4))
    def restart(self, deeds: list[Wish]) -> None:
        self.note("restart")
        self.run(self.both.close())
        self._open_after(deeds)

    @rule(deeds=st.lists(deeds, max_size=4), wishes=st.lists(wishes, max_size=3))
    def crash(self, deeds: list[Wish], wishes: list[Wish]) -> None:
        """What the clients wish last is in the log, and nothing of it on the disk."""
        self.note("crash")
        self.both.store.mirror = None
        for wish in wishes:
            self.run(self.wish(wish))
        self.run(self.both.crash())
        self._open_after(deeds)

    def _open_after(self, deeds: list[Wish]) -> None:
        self.is_up = False
        for deed in deeds:
            self.do(deed)
        self.run(self.both.open())
        self.is_up = True

    # -- what must hold ----------------------------------------------------------------

    @rule()
    def quiet(self) -> None:
        self._quiet(self.both.agree())

    @rule()
    def quiet_by_themselves(self) -> None:
        self._quiet(self.both.agree_by_themselves())

    def _quiet(self, agreeing: Coroutine[Any, Any, Any]) -> None:
        self.note("quiet")
        try:
            self.run(agreeing)
            assert self.run(self.both.has_lost()) == set()
            self._nothing_is_wrong()
        except BaseException as error:
            error.add_note("\n".join(self.trace))
            raise

    def _nothing_is_wrong(self) -> None:
        assert self.trouble == []
        assert [said for said in self.complaints.said if EXPECTED not in said] == []
        assert [task for task in self.both.folder._tasks if task.done()] == []

    def teardown(self) -> None:
        try:
            if self.is_up:
                self.quiet()
                self.run(self.both.close())
                self.run(self.both.open())
                self.quiet()
                self.run(self.both.close())
                self.is_up = False
        finally:
            if self.is_up:
                self.run(self.both.crash())
            logging.getLogger("evstore").removeHandler(self.complaints)
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0.01))
            self.loop.close()
            self.place.cleanup()


def _nothing(work: UnitOfWork) -> None:
    """A command that changes nothing."""


TestSides = Sides.TestCase
TestSides.settings = settings(
    max_examples=int(os.environ.get("EVSTORE_FOLDER_EXAMPLES", "25")),
    stateful_step_count=int(os.environ.get("EVSTORE_FOLDER_STEPS", "25")),
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
