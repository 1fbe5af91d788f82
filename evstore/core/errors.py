"""Everything that can go wrong by name.

Each class carries its own plain sentence as its docstring, used when the raiser
has nothing better to say. What an error means on the wire is decided in one
place, `http/errors.py`; on the command line in `cli.py`.
"""


class EvstoreError(Exception):
    """Something went wrong in evstore."""

    reason: str | None = None  # a short name for programs, where Jupyter has one

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])

    @property
    def message(self) -> str:
        """The sentence. It may quote what is no valid text, such as a header's bytes; every answer and log can hold it."""
        return str(self.args[0]).encode(errors="backslashreplace").decode()


class NotFound(EvstoreError):
    """There is nothing of that name."""


class Exists(EvstoreError):
    """Something else has that name already."""


class Conflict(EvstoreError):
    """The file has changed since the version that the request was based on."""


class Invalid(EvstoreError):
    """The request can't be understood."""


class Unprocessable(EvstoreError):
    """The request is understood, but what it asks for can't be done."""


class Forbidden(EvstoreError):
    """That is not allowed."""


class NotLetIn(Forbidden):
    """A server does not know who is asking."""


class Gone(EvstoreError):
    """What the request is about has ended meanwhile."""


class TooLarge(EvstoreError):
    """The body is larger than this server accepts."""


class Busy(EvstoreError):
    """The server has too much to write just now; try again in a moment."""


class Full(EvstoreError):
    """The disk is full: nothing was saved, and what was saved before is safe."""


class ReadOnly(EvstoreError):
    """The disk failed while writing, so nothing more is written until evstore is restarted."""


class Unavailable(EvstoreError):
    """That part of the server is not available."""


class NotInstalled(Unavailable):
    """What that needs is not installed here."""


class Stopping(Unavailable):
    """The server is stopping."""


class Stopped(EvstoreError):
    """Stopped before it was done."""


class CannotStart(Unavailable):
    """The kernel can't be started."""

    def __init__(self, message: str | None = None, *, short_message: str = "Kernel not started") -> None:
        super().__init__(message)
        self.short_message = short_message  # what classic front ends show in the place of a status


class CannotRestart(CannotStart):
    """The kernel has ended, and can't be started again."""


class CannotStartAtGateway(CannotStart):
    """The gateway can't start the kernel just now."""


class GatewayError(EvstoreError):
    """The gateway refuses, fails, or is no gateway."""


class GatewayAway(GatewayError):
    """The gateway can't be reached."""


class CannotConvert(Unprocessable):
    """The notebook can't be converted."""


class DatabaseError(EvstoreError):
    """The file is not a database that this evstore can open."""


class Locked(DatabaseError):
    """Another evstore is using this database."""

    def __init__(self, message: str | None = None, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid  # of the process that uses it, if it said so
