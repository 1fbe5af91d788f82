"""Sessions: which kernel belongs to which document.

A session is a path with a kernel. The path is whatever the front end says: a notebook's, or
just a unique name for a console. When a file or folder is moved, whoever follows the log's feed
calls `entry_moved`, so that the session goes with it, also when nobody has the page open.
Sessions end with their kernels, and the server.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace

from evstore.errors import Invalid, NotFound
from evstore.kernels.kernel import Kernel
from evstore.kernels.manager import Kernels


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
        self._turn = asyncio.Lock()  # two requests for one path must not start two kernels
        kernels.on_end(self._kernel_ended)

    def all(self) -> list[Session]:
        """All sessions, the oldest first."""
        return list(self._sessions.values())

    def get(self, session_id: str) -> Session:
        """The session of this id. Raises NotFound."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"Session not found: {session_id}")
        return session

    async def open(
        self, path: str, *, name: str, type: str, kernel_id: str | None = None, kernel_name: str | None = None
    ) -> Session:
        """The session of this path: the one that runs, or a new one.

        A new one gets the running kernel `kernel_id`, or a new kernel under that id.
        Raises CannotStart, and Invalid for a kernel id that can't be one.
        """
        async with self._turn:
            for session in self._sessions.values():
                if session.path == path:
                    return session
            kernel = await self._kernels.start(kernel_name, path=path, kernel_id=kernel_id, is_session=True)
            session = Session(str(uuid.uuid4()), path, name, type, kernel)
            self._sessions[session.id] = session
            return session

    async def change(self, session_id: str, change: Change) -> Session:
        """Change a session, and return it as it is now.

        Another kernel takes the place of the old one, which is shut down, unless another
        session uses it. Raises NotFound, CannotStart, and Invalid for an unknown kernel id.
        """
        async with self._turn:
            before = self.get(session_id)
            kernel = await self._other_kernel(before, change)
            session = replace(
                before,
                path=before.path if change.path is None else change.path,
                name=before.name if change.name is None else change.name,
                type=before.type if change.type is None else change.type,
                kernel=kernel,
            )
            self._sessions[session_id] = session
            kernel.follow(before.path, session.path)
        if kernel is not before.kernel and not self._uses(before.kernel):
            await before.kernel.stop()
        return session

    async def delete(self, session_id: str) -> None:
        """End a session, and its kernel with it. Raises NotFound."""
        await self.get(session_id).kernel.stop()

    async def entry_moved(self, old_path: str, new_path: str) -> None:
        """A file or folder has another path now: its session, or all sessions below it, have too."""
        for session in self.all():
            if session.path != old_path and not session.path.startswith(f"{old_path}/"):
                continue
            path = new_path + session.path.removeprefix(old_path)
            is_named_so = session.name == session.path.rpartition("/")[2]
            name = path.rpartition("/")[2] if is_named_so else session.name
            session.kernel.follow(session.path, path)
            self._sessions[session.id] = replace(session, path=path, name=name)

    async def _other_kernel(self, session: Session, change: Change) -> Kernel:
        if change.kernel_id is not None:
            kernel = self._kernels.find(change.kernel_id)
            if kernel is None:
                raise Invalid(f"No such kernel: {change.kernel_id}")
            return kernel
        if change.kernel_name is not None:
            path = session.path if change.path is None else change.path
            return await self._kernels.start(change.kernel_name, path=path, is_session=True)
        return session.kernel

    def _uses(self, kernel: Kernel) -> bool:
        return any(session.kernel is kernel for session in self._sessions.values())

    def _kernel_ended(self, kernel: Kernel) -> None:
        self._sessions = {key: one for key, one in self._sessions.items() if one.kernel is not kernel}
