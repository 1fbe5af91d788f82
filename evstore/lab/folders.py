"""Where the front ends' files lie, and writing there so that a crash leaves no half file."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders of one JupyterLab, and of the Notebook beside it."""

    app: Path  # static/, schemas/, themes/, settings/
    extensions: tuple[Path, ...]  # folders of federated extensions; of one name, the first found counts
    user_settings: Path
    workspaces: Path
    labconfig: Path  # the user's page_config.json
    custom: Path  # the user's own custom.css for Notebook, and what it shows

    @property
    def static(self) -> Path:
        return self.app / "static"

    @property
    def schemas(self) -> Path:
        return self.app / "schemas"

    @property
    def themes(self) -> Path:
        return self.app / "themes"

    @property
    def app_settings(self) -> Path:
        return self.app / "settings"

    @property
    def labextensions_path(self) -> list[str]:
        """As jupyterlab_server's functions want it."""
        return [str(path) for path in self.extensions]


@contextmanager
def written_whole(folder: Path) -> Generator[Path]:
    """A folder to write into: what lies there at the end of the block is moved into `folder`, file by file.

    jupyterlab_server's functions write in place; a crash in the middle of that would leave a file
    that nobody can read, and a page that does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
        yield Path(temporary)
        for made in [path for path in Path(temporary).rglob("*") if path.is_file()]:
            target = folder / made.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, target)
