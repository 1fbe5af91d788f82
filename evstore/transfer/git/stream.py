"""A stream to `git fast-import`: blobs, commits on one branch, tags, and notes that say of which offset a commit is.

The branch shows what has been sent at the end, or nothing of it. (Source: git help fast-import)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from evstore.core.events import Digest
from evstore.transfer.git import mapping
from evstore.transfer.git.formats import FILE, PROGRAM, Commit
from evstore.transfer.git.program import Process

BRANCH = "refs/heads/main"
NOTES = "refs/notes/evstore"
# bodies whose marks are remembered; one that is forgotten is sent again, which git notices
REMEMBERED = 100_000
NOTED = 5_000  # notes in one commit


class Sent(NamedTuple):
    """A file of a commit, whose body has been sent."""

    path: str
    mark: str
    executable: bool


class Stream:
    """fast-import at work in a repository. Close it."""

    def __init__(self, folder: Path, tip: str | None, notes: str | None) -> None:
        """`tip` and `notes`: the commits that the branch and the notes go on from, None when they are new."""
        self._process = Process(folder, ("fast-import", "--quiet", "--done", "--date-format=raw-permissive"))
        self._tip = tip
        self._notes_tip = notes
        self._marks = 0
        self._blobs = OrderedDict[Digest | None, str]()
        self._notes: list[tuple[str, str]] = []

    def mark_of(self, digest: Digest | None) -> str | None:
        """The mark of a body that has been sent; None when it must be sent (again)."""
        if digest in self._blobs:
            self._blobs.move_to_end(digest)
        return self._blobs.get(digest)

    def blob(self, digest: Digest | None, size: int, pieces: Iterable[bytes]) -> str:
        """Send a body of `size` bytes."""
        mark = self._mark()
        self._write(f"blob\nmark {mark}\ndata {size}\n".encode())
        for piece in pieces:
            self._write(piece)
        self._write(b"\n")
        self._blobs[digest] = mark
        while len(self._blobs) > REMEMBERED:
            self._blobs.popitem(last=False)
        return mark

    def commit(self, words: Commit, removed: Sequence[str], files: Sequence[Sent]) -> str:
        """One more commit on the branch. What is removed goes before what comes."""
        mark = self._mark()
        encoding = words.encoding or "utf-8"
        lines = [f"commit {BRANCH}\nmark {mark}".encode()]
        lines.append(f"author {words.author}\ncommitter {words.committer}".encode(encoding))
        if words.encoding is not None:
            lines.append(f"encoding {words.encoding}".encode())
        lines.append(_data(words.message.encode(encoding)))
        if self._tip is not None:
            lines.append(f"from {self._tip}".encode())
        lines += [b"D " + mapping.quoted(path) for path in removed]
        for path, blob, executable in files:
            lines.append(f"M {PROGRAM if executable else FILE} {blob} ".encode() + mapping.quoted(path))
        self._write(b"\n".join(lines) + b"\n\n")
        self._tip = mark
        return mark

    def tag(self, name: str, commit: str, tagger: str | None, message: str | None) -> None:
        """A tag; without a message it is a bare name for the commit."""
        if message is None:
            self._write(f"reset refs/tags/{name}\nfrom {commit}\n\n".encode())
            return
        by = "" if tagger is None else f"tagger {tagger}\n"
        self._write(f"tag {name}\nfrom {commit}\n{by}".encode() + _data(message.encode()) + b"\n")

    def note(self, commit: str, text: str, by: str) -> None:
        """Note something of a commit, in the place of what has been noted of it before."""
        self._notes.append((commit, text))
        if len(self._notes) >= NOTED:
            self._write_notes(by)

    def _write_notes(self, by: str) -> None:
        mark = self._mark()
        lines = [
            f"commit {NOTES}\nmark {mark}\ncommitter {by}".encode(),
            _data(b"Offsets of evstore's log\n"),
        ]
        if self._notes_tip is not None:
            lines.append(f"from {self._notes_tip}".encode())
        for commit, text in self._notes:
            lines += [f"N inline {commit}".encode(), _data(text.encode())]
        self._write(b"\n".join(lines) + b"\n\n")
        self._notes_tip = mark
        self._notes = []

    def finish(self, by: str) -> None:
        """Make what was sent appear. Raises GitFailed, and then nothing of it does."""
        if self._notes:
            self._write_notes(by)
        self._write(b"done\n")
        self._process.finish()

    def close(self) -> None:
        self._process.close()

    def _mark(self) -> str:
        self._marks += 1
        return f":{self._marks}"

    def _write(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            raise self._process.failure() from None


def _data(data: bytes) -> bytes:
    return b"data %d\n%s" % (len(data), data)
