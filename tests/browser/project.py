"""A real project to work in: a package with its tests and their notebooks, in a git repository with two branches."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.git_repository import commit, git, new_repository
from tests.jupyter_server.source import NBCLIENT

FILES = "tests/files"  # where its notebooks lie
OLD_NAME, NEW_NAME = "UnicodePy3.ipynb", "Snowman.ipynb"  # of one notebook, on main and on the branch
CHANGED = "Clear Output.ipynb"  # another one on the branch
WORDS = "on the other branch"  # which the branch's has, and not main's
ONLY_THERE = "Sleep again.ipynb"
VERSION = "nbclient/_version.py"


def make(folder: Path) -> None:
    """Make the repository in `folder`: it is on `main`, and has a branch `other`."""
    new_repository(folder)
    shutil.copytree(NBCLIENT.fetch(), folder, dirs_exist_ok=True)
    commit(folder, "nbclient as it is on PyPI")
    git(folder, "checkout", "--quiet", "-b", "other")
    notebooks = folder / FILES
    (notebooks / OLD_NAME).rename(notebooks / NEW_NAME)
    shutil.copy(notebooks / "Sleep1s.ipynb", notebooks / ONLY_THERE)
    text = (notebooks / CHANGED).read_text()
    (notebooks / CHANGED).write_text(text.replace('"source": [', f'"source": [\n    "# {WORDS}\\n",', 1))
    (folder / "LICENSE").unlink()
    commit(folder, "A branch that renames, adds, changes and deletes")
    git(folder, "checkout", "--quiet", "main")


def status(folder: Path) -> list[str]:
    """What git says has changed, a line for each file."""
    return git(folder, "status", "--porcelain").decode().splitlines()
