"""The front ends that there may be: what tells one from the other. Pure, and made before either is imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A front end. It has the same extensions, settings and API as the others."""

    name: str  # as in `--app`, and below `static/`
    title: str
    start: str  # the page that `/` opens, below the base URL
    packages: tuple[str, ...]  # what must be importable; the last is its own, on PyPI under this name

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"{sys.executable} -m pip install {self.packages[-1]} ipykernel"


LAB = App(name="lab", title="JupyterLab", start="lab", packages=("jupyterlab_server", "jupyterlab"))
NOTEBOOK = App(
    name="notebook",
    title="Jupyter Notebook",
    start="tree",
    packages=("jupyterlab_server", "jupyterlab", "notebook"),
)
APPS = {app.name: app for app in (LAB, NOTEBOOK)}
