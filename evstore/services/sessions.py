"""Sessions: which kernel belongs to which document.

A session is a path with a kernel. The path is whatever the front end says: a notebook's, or
just a unique name for a console. When a file or folder is moved, whoever follows the log's feed
calls `entry_moved`, so that the session goes with it, also when nobody has the page open.
Sessions end with their kernels, and the server.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from evstore.core.errors import CannotStart, Gone, Invalid, NotFound
from evstore.core.paths import MAX_PATH, ContentPath
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.kernels.manager import Kernels


@dataclass(frozen=True, slots=True)
class Session:
    """A document, or a console, and its kernel."""

    id: str
    path: str
    name: str
    type: str  # notebook, console, file: the front end's word
    kernel: Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be different about a session; None leaves it as it is."""

    path: str | None = None
    name: str | None = None
    type: str | None = None
    kernel_id: str | None = None  # an id is stronger than a name
    kernel_name: str | None = None


class Sessions:
    """The running sessions."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._sessions: dict[str, Session] = {}
        # made when asked for, void with each change
        self._by_path: dict[ContentPath, list[Session]] | None = None
        self._turns = WeakValueDictionary[str, asyncio.Lock]()  # by what requests must not change at once
        kernels.on_end(self._kernel_ended)

    def all(self) -> list[Session]:
        """All sessions, the oldest first."""
        return list(self._sessions.values())

    def at(self, path: ContentPath) -> Sequence[Session]:
        """The sessions of this path. It is asked for with each notebook that somebody reads."""
        if self._by_path is None:
            self._by_path = {}
            for session in self._sessions.values():
                self._by_path.setdefault(ContentPath.parse(session.path), []).append(session)
        return self._by_path.get(path, ())

    def get(self, session_id: str) -> Session:
        """The session of this id. Raises NotFound."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"Session not found: {session_id}")
        return session

    async def open(
        self,
        path: str,
        *,
        name: str,
        type: str,
        kernel_id: str | None = None,
        kernel_name: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Session:
        """The session of this path: the one that runs, or a new one.

        A new one gets the running kernel `kernel_id`, or a new kernel under that id, with `variables` in
        its environment. Raises CannotStart, and Invalid for a kernel id that can't be one.
        """
        _check_path(path)
        _check_name(name)
        async with self._turn(f"path {path}"):  # two requests for it must not start two kernels
            for session in self.all():
                if session.path == path:
                    if not session.kernel.is_ending:
                        return session
                    await session.kernel.stop()
            kernel = await self._kernels.start(
                kernel_name, path=path, kernel_id=kernel_id, session=name, variables=variables
            )
            if kernel.is_over:
                raise CannotStart("The kernel was shut down while the session was opened.")
            session = Session(str(uuid.uuid4()), path, name, type, kernel)
            self._put(session)
            return session

    async def change(self, session_id: str, change: Change) -> Session:
        """Change a session, and return it as it is now.

        Another kernel takes the place of the old one, which is shut down, unless another
        session uses it. Raises NotFound, CannotStart, and Invalid for an unknown kernel id.
        """
        if change.path is not None:
            _check_path(change.path)
        if change.name is not None:
            _check_name(change.name)
        async with self._turn(session_id):
            kernel = await self._other_kernel(self.get(session_id), change)
            before = self._sessions.get(session_id)  # renamed meanwhile, perhaps, or its kernel has died
            if before is None or kernel.is_over:
                await self._drop(kernel)
                raise NotFound(f"Session not found: {session_id}")
            session = replace(
                before,
                path=before.path if change.path is None else change.path,
                name=before.name if change.name is None else change.name,
                type=before.type if change.type is None else change.type,
                kernel=kernel,
            )
            self._put(session)
            kernel.follow(before.path, session.path, session.name)
        await self._drop(before.kernel)
        return session

    async def delete(self, session_id: str) -> None:
        """End a session, and its kernel with it. Raises NotFound, and Gone when the kernel ends already."""
        async with self._turn(session_id):
            if not await self.get(session_id).kernel.stop():
                raise Gone("Kernel deleted before session")

    async def entry_moved(self, old_path: str, new_path: str) -> None:
        """A file or folder has another path now: its session, or all sessions below it, have too."""
        for session in self.all():
            at = ContentPath.parse(session.path)
            if at != old_path and not at.startswith(f"{old_path}/"):
                continue
            path = new_path + at.removeprefix(old_path)
            is_named_so = session.name == session.path.rpartition("/")[2]
            name = path.rpartition("/")[2] if is_named_so else session.name
            session.kernel.follow(session.path, path, name)
            self._put(replace(session, path=path, name=name))

    async def _other_kernel(self, session: Session, change: Change) -> Kernel:
        if change.kernel_id is not None:
            kernel = self._kernels.find(change.kernel_id)
            if kernel is None:
                raise Invalid(f"No such kernel: {change.kernel_id}")
            return kernel
        if change.kernel_name is not None:
            path = session.path if change.path is None else change.path
            name = session.name if change.name is None else change.name
            return await self._kernels.start(change.kernel_name, path=path, session=name)
        return session.kernel

    async def _drop(self, kernel: Kernel) -> None:
        """Stop the kernel, unless a session uses it."""
        if not any(session.kernel is kernel for session in self._sessions.values()):
            await kernel.stop()

    def _turn(self, key: str) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())

    def _put(self, session: Session) -> None:
        self._sessions[session.id] = session
        self._by_path = None

    def _kernel_ended(self, kernel: Kernel) -> None:
        self._by_path = None
        self._sessions = {key: one for key, one in self._sessions.items() if one.kernel is not kernel}


def _check_path(path: str) -> None:
    """It may be that of no file, such as a console's. Raises NotFound and Invalid."""
    if len(ContentPath.parse(path).encode()) > MAX_PATH:
        raise Invalid(f"The path is longer than {MAX_PATH} bytes.")


def _check_name(name: str) -> None:
    """The kernel is told it in its environment. Raises Invalid."""
    if "\0" in name or len(name) > MAX_PATH:
        raise Invalid("That can't be the name of a session: it is too long, or has null characters.")
