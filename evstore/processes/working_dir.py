"""Where on the disk a program runs that somebody starts at an API path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def nearest_folder(root: Path, names: Iterable[str]) -> Path:
    """The nearest folder at or above the path `names` that exists, and never one outside `root`."""
    root = root.resolve()
    folder = root
    for name in names:
        try:
            below = (folder / name).resolve()
            if not below.is_dir() or not below.is_relative_to(root):
                break
        except (OSError, ValueError, RuntimeError):  # a name that can't be, a link to itself
            break
        folder = below
    return folder
