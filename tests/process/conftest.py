"""A log with a little history, made once and copied for each test that asks for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.process.commands import done

NOTEBOOK = """{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "one",
   "metadata": {},
   "outputs": [],
   "source": [
    "%s"
   ]
  }
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}
"""
DATE = 1_700_000_000  # seconds since 1970: 2023-11-14


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files (events 1 to 4), a folder with two (5 to 9), and newer versions of three (10 to 12)."""
    folder = tmp_path_factory.mktemp("made") / "folder"
    folder.mkdir()
    write(folder, "a.txt", "one\n", 0)
    write(folder, "n.ipynb", NOTEBOOK % "1 + 1", 1)
    done("import", ".", cwd=folder)
    (folder / "sub").mkdir()
    write(folder, "sub/b.txt", "below\n", 2)
    write(folder, "sub/raw.bin", b"\xff\x00\xfe", 3)
    done("import", ".", cwd=folder)
    write(folder, "a.txt", "one\ntwo\n", 4)
    write(folder, "n.ipynb", NOTEBOOK % "1 + 2", 5)
    write(folder, "sub/raw.bin", b"\xff\x00\xfe\x01", 6)
    done("import", ".", cwd=folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` for one test."""
    shutil.copytree(made, tmp_path / "folder")
    return tmp_path / "folder"


def write(folder: Path, name: str, content: str | bytes, minute: int) -> None:
    """A file with a date of its own."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (DATE + 60 * minute, DATE + 60 * minute))
