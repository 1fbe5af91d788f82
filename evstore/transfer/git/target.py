"""The folder that a history is written to: a new repository, or one that holds an older part of the same history."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evstore.core.errors import Conflict, Exists
from evstore.transfer.git import program
from evstore.transfer.git.program import GitFailed
from evstore.transfer.git.stream import BRANCH, NOTES

NOTE = re.compile(r"offset (\d+)\nhash ([0-9a-f]{64})")


@dataclass(frozen=True)
class Target:
    """Where to go on: after which offset, whose hash in the log's chain was so; 0 for a new repository."""

    folder: Path
    offset: int
    hash: str
    tip: str | None  # the newest commit
    notes: str | None  # the newest commit of notes
    tags: frozenset[str]  # names that are taken

    @cached_property
    def commits(self) -> list[tuple[int, str]]:
        """Up to which offset the log was like each commit, by offset."""
        if self.tip is None:
            return []
        listing = ("log", "--no-show-signature", "--format=%H%x00%N%x00", f"--notes={NOTES}", self.tip)
        fields = program.run(self.folder, *listing).decode(errors="replace").split("\0")
        noted = [(NOTE.match(text), name) for name, text in zip(fields[::2], fields[1::2], strict=False)]
        return sorted((int(match[1]), name.strip()) for match, name in noted if match)

    def update_files(self) -> None:
        """Have the files in the folder be those of the newest commit, if it is one with files."""
        if _commit(self.folder, BRANCH) and _has_files(self.folder):
            program.run(self.folder, "reset", "--hard", "--quiet")


def note(offset: int, hash: bytes) -> str:
    """What is noted of a commit: the log was like this up to that offset."""
    return f"offset {offset}\nhash {hash.hex()}\n"


def open_target(folder: Path) -> Target:
    """The folder as a repository that can be written to; made if need be.

    Raises Exists for a folder with something else in it, Conflict for a repository with other commits or
    changes of its own, GitFailed, NotInstalled.
    """
    if folder.exists() and not folder.is_dir():
        raise Exists(f"{folder} is a file; a folder is needed for the repository.")
    if not (folder.is_dir() and program.is_repository(folder)):
        if folder.is_dir() and any(folder.iterdir()):
            raise Exists(f"{folder} is not empty, and is no git repository that could be gone on with.")
        program.command(folder, "init")  # raises before anything is made
        folder.mkdir(parents=True, exist_ok=True)
        program.run(folder, "init", "--quiet")
    tip = _commit(folder, BRANCH)
    if tip is None:
        if program.run(folder, "for-each-ref", "--count=1"):
            raise Conflict(f"{folder} is a repository with other branches or tags. Export into a new one.")
        program.run(folder, "symbolic-ref", "HEAD", BRANCH)
    if _has_files(folder) and program.run(folder, "status", "--porcelain"):
        raise Conflict(
            f"{folder} has changes that are in no commit, and would lose them. "
            "Put them aside first: git stash --include-untracked"
        )
    offset, hash = (0, "") if tip is None else _noted(folder, tip)
    tags = program.run(folder, "for-each-ref", "--format=%(refname)", "refs/tags")
    names = frozenset(line.decode(errors="replace").removeprefix("refs/tags/") for line in tags.splitlines())
    return Target(folder, offset, hash, tip, _commit(folder, NOTES), names)


def _has_files(folder: Path) -> bool:
    """Whether the folder shows the files of our branch: it is no bare repository, and no other branch is checked out."""
    if program.run(folder, "rev-parse", "--is-bare-repository").strip() == b"true":
        return False
    try:
        return program.run(folder, "symbolic-ref", "--quiet", "HEAD").decode().strip() == BRANCH
    except GitFailed:  # no branch at all
        return False


def _commit(folder: Path, name: str) -> str | None:
    """The id of the commit that a name means, None when there is none."""
    try:
        return program.run(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    except GitFailed:
        return None


def _noted(folder: Path, tip: str) -> tuple[int, str]:
    try:
        text = program.run(folder, "notes", f"--ref={NOTES}", "show", tip).decode(errors="replace")
    except GitFailed:
        text = ""
    match = NOTE.match(text)
    if match is None:
        raise Conflict(
            f"The newest commit on main in {folder} is not evstore's: there is nothing to go on from."
        )
    return int(match[1]), match[2]
