"""Writing the whole history as a git repository: each command of the log that changed a file is a commit.

What came from git goes back as it was: author, dates, message. What somebody saved here is a commit of
theirs, at the time of its event. Folders without files are left out, as git has none.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from evstore.core.errors import Conflict
from evstore.core.events import Offset, Recorded
from evstore.log import bodies, log
from evstore.log.engine.base import Tx
from evstore.log.log import Moment
from evstore.store.store import Store
from evstore.transfer.git import mapping
from evstore.transfer.git.commands import CommandDiff, File, tell
from evstore.transfer.git.formats import Commit
from evstore.transfer.git.stream import Sent, Stream
from evstore.transfer.git.target import Target, note, open_target
from evstore.worktree.disk.file_stat import Skipped

PAGE = 200  # events in one go, or a whole command if that has more
IMPOSSIBLE = "git has no files of that name"

Progress = Callable[[int, int], None]  # the offset that is reached, and the last


@dataclass(slots=True)
class GitExported:
    """What was written, and up to which offset."""

    offset: Offset
    commits: int = 0
    tags: int = 0
    skipped: list[Skipped] = field(default_factory=list[Skipped])


async def export_repository(store: Store, folder: Path, at: Moment | None, progress: Progress) -> GitExported:
    """Write the history up to `at` (None: now) into the repository in `folder`, which is made if need be.

    One that was written before from the same log is gone on with. Raises Exists, Conflict, GitFailed.
    """
    end = await store.read(lambda tx: log.head(tx).offset if at is None else log.resolve(tx, at))
    target = await asyncio.to_thread(open_target, folder)
    await store.read(lambda tx: _check_same_log(tx, target, end))
    with closing(GitExport(target, GitExported(end))) as writer:
        offset = target.offset
        while offset < end:
            offset = await store.read(lambda tx, after=offset: writer.write_page(tx, after, end))
            progress(offset, end)
        await store.read(writer.finish)
    await asyncio.to_thread(target.update_files)
    return writer.done


def _check_same_log(tx: Tx, target: Target, end: int) -> None:
    if target.offset > end:
        raise Conflict(
            f"{target.folder} holds the history up to offset {target.offset}, which is after {end}."
        )
    if target.offset and log.hash_at(tx, target.offset).hex() != target.hash:
        raise Conflict(f"{target.folder} holds the history of another log.")


@dataclass(frozen=True, slots=True)
class _PlannedFile:
    """A tag that is to be made once all commits have been sent: until then it may be moved or deleted."""

    offset: int  # of the event that it comes from
    name: str
    commit: str
    tagger: str | None
    message: str | None


class GitExport:
    """Turns the log into a stream, page by page, on a reader's thread. Close it."""

    def __init__(self, target: Target, done: GitExported) -> None:
        self.done = done
        self._target = target
        self._stream = Stream(target.folder, target.tip, target.notes)
        self._tip = target.tip
        self._commits: list[tuple[int, str]] = []  # of this run: up to which offset, and the mark
        self._tags: dict[str, _PlannedFile] = {}  # that came from git, by name
        self._labels: dict[int, _PlannedFile] = {}  # of checkpoints, by their offsets
        self._skipped: dict[str, None] = {}
        self._by = mapping.ident("evstore", 0)

    def close(self) -> None:
        self._stream.close()

    def write_page(self, tx: Tx, after: int, end: int) -> int:
        """Send what some of the next commands did; returns the offset that has been reached."""
        events = _page(tx, after, end)
        self._by = mapping.ident("evstore", events[-1].at)
        for _, command in groupby(events, key=attrgetter("command")):
            self._write(tx, tell(tx, list(command)))
        return events[-1].offset

    def finish(self, tx: Tx) -> None:
        """Send the tags and the last notes, and have git make it all appear."""
        if self._tip is not None and self.done.offset > self._target.offset:
            # the log may have gone on without a change of files
            self._stream.note(self._tip, note(self.done.offset, log.hash_at(tx, self.done.offset)), self._by)
        names = mapping.TagNames(self._target.tags)
        wishes = [*self._tags.values(), *self._labels.values()]
        for wish in sorted(wishes, key=attrgetter("offset")):
            self._stream.tag(names.take(wish.name, wish.offset), wish.commit, wish.tagger, wish.message)
        self.done.tags = len(wishes)
        self.done.skipped = [Skipped(path, IMPOSSIBLE) for path in self._skipped]
        self._stream.finish(self._by)

    def _write(self, tx: Tx, told: CommandDiff) -> None:
        removed = [path for path in told.removed if mapping.is_possible(path)]
        files = [file for file in told.files if mapping.is_possible(file.path)]
        self._skipped |= {file.path: None for file in told.files if not mapping.is_possible(file.path)}
        offset = told.last.offset
        if removed or files or told.commit is not None:
            sent = [Sent(file.path, self._body(tx, file), file.executable) for file in files]
            self._tip = self._stream.commit(_words(told), removed, sent)
            self._stream.note(self._tip, note(offset, log.hash_at(tx, offset)), self._by)
            self._commits.append((offset, self._tip))
            self.done.commits += 1
        self._note_tags(told)

    def _body(self, tx: Tx, file: File) -> str:
        mark = self._stream.mark_of(file.digest)
        if mark is not None:
            return mark
        pieces = bodies.chunks(tx, bodies.manifest(tx, file.digest)) if file.digest is not None else ()
        return self._stream.blob(file.digest, file.size, pieces)

    def _note_tags(self, told: CommandDiff) -> None:
        for offset, tag in told.tags:
            if (commit := self._commit_at(tag.source)) is not None:
                self._tags[tag.name] = _PlannedFile(offset, tag.name, commit, tag.tagger, tag.message)
        for recorded, text, path in told.labels:
            if self._tip is not None:
                message = f"{text}\n\nThe checkpoint {recorded.offset} of {path}.\n"
                by = mapping.ident(recorded.actor, recorded.at)
                name = text.replace("/", "-")
                self._labels[recorded.offset] = _PlannedFile(recorded.offset, name, self._tip, by, message)
        for offset in told.unlabelled:
            self._labels.pop(offset, None)

    def _commit_at(self, offset: int) -> str | None:
        """The commit that shows the log as of `offset`."""
        commits = self._commits if offset > self._target.offset else self._target.commits
        place = bisect_left(commits, (offset, ""))
        return commits[place][1] if place < len(commits) else None


def _words(told: CommandDiff) -> Commit:
    if (commit := told.commit) is not None:
        return Commit(commit.author, commit.committer, commit.message, commit.encoding)
    by = mapping.ident(told.last.actor, told.last.at)
    return Commit(by, by, mapping.message(told.changes))


def _page(tx: Tx, after: int, end: int) -> list[Recorded]:
    """Some whole commands after an offset: at least one, of as many events as it has."""
    limit = PAGE
    while True:
        events = log.after(tx, after, limit, until=end)
        if events[-1].offset == end:
            return events
        cut = len(events)
        while cut and events[cut - 1].command == events[-1].command:
            cut -= 1
        if cut:
            return events[:cut]
        limit *= 4
