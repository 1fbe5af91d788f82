"""Where a kernel runs: its folder on the disk, and what it is told in its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.processes.working_dir import nearest_folder


@dataclass(slots=True)
class LaunchContext:
    """A place in the served folder, for a kernel to be started in now or again later."""

    root: Path  # the served folder
    path: ContentPath | None  # of the notebook, or of a folder; a rename changes it. None: the server's own
    session: str | None  # what the kernel's session is called; None: it was started for none
    variables: Mapping[str, str] = field(default_factory=dict[str, str])  # that its client has set

    def folder(self) -> Path:
        """The nearest folder at or above the path that exists, and never one outside the served folder.

        Without a path it is where the server itself was started, as in jupyter_server.
        """
        if self.path is None:
            return _current(self.root.resolve())
        return nearest_folder(self.root, self.path.names)

    def session_name(self) -> str | None:
        """The notebook's full path, for the kernel to know.

        JupyterLab opens a session under a path whose end it has made up, and gives it the right one when
        the kernel runs already; but the session's name is the notebook's from the start.
        """
        if self.session is None or self.path is None:
            return None
        return str(self.folder() / (self.session or self.path.name))

    def environment(self) -> dict[str, str]:
        """What the kernel's environment has besides the server's and its kernelspec's."""
        session_name = self.session_name()
        own = {} if session_name is None else {"JPY_SESSION_NAME": session_name}
        return {**self.variables, **own}


def _current(root: Path) -> Path:
    """Where the server runs; `root` when somebody has removed that folder."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return root
