"""What a worker is asked for, and what it gives. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Pictures = dict[str, bytes]  # by their paths, as the notebook has them
FindPictures = Callable[[list[str]], Awaitable[Pictures]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A notebook that shall become another format."""

    format: str
    body: bytes  # the notebook's JSON; when `posted`, a request's: `{"name": ..., "content": notebook}`
    name: str = ""  # of its file
    modified: int | None = None  # µs since 1970
    sanitize: bool | None = None  # HTML in the notebook; None: as nbconvert does by default
    posted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What became of it: one file, or a ZIP archive of that with the images it refers to."""

    body: bytes
    mimetype: str
    filename: str
    is_archive: bool = False
    is_text: bool = False  # in UTF-8
