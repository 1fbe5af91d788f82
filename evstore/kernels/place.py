"""Where on the disk a kernel runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evstore.paths import ContentPath


@dataclass(slots=True)
class Place:
    """A place in the served folder, for a kernel to be started in now or again later."""

    root: Path  # the served folder
    path: ContentPath  # of the notebook, or of a folder; a rename changes it
    is_session: bool  # the kernel is told the path, as JPY_SESSION_NAME

    def folder(self) -> Path:
        """The nearest folder at or above the path that exists, and never one outside the served folder."""
        root = self.root.resolve()
        folder = root
        for name in self.path.names:
            try:
                below = (folder / name).resolve()
                if not below.is_dir() or not below.is_relative_to(root):
                    break
            except (OSError, ValueError, RuntimeError):  # a name that can't be, a link to itself
                break
            folder = below
        return folder

    def session_name(self) -> str | None:
        """The notebook's full path, for the kernel to know."""
        return str(self.folder() / self.path.name) if self.is_session else None
