"""Taking in a git repository: each commit on the line of first parents becomes one command.

A log is one line, and a git history a graph: of a merge the first parent is followed, and what came by the
others is one commit's change. Commits are read, cut and compressed on a thread while those before them
are being written, a batch in one transaction. So a crash leaves whole commits, and the next run goes on
after the last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from evstore.core import rules
from evstore.core.entry import Entry
from evstore.core.errors import Conflict, Exists, NotFound
from evstore.core.events import Author, CommitImported, EntryId, Offset, Recorded, TagImported
from evstore.core.paths import ContentPath
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import history, tree
from evstore.services.contents import make_directories
from evstore.store.store import Store, UnitOfWork
from evstore.transfer.git.history_reader import Reader, Ready
from evstore.transfer.git.replaying import Replay
from evstore.transfer.git.repository import Repository, Tag
from evstore.worktree.disk.file_stat import LATEST, Skipped

ACTOR = "import"  # of what no commit's author did
PAGE = 1000  # events looked at in one go
FAR = 1 << 62  # an offset after all offsets
OFF_THE_LINE = "it names no commit on the line that was taken in"

Progress = Callable[[int, int], None]  # how many commits are done, and of how many


@dataclass(slots=True)
class GitReport:
    """What became of a repository's history."""

    commits: int = 0
    tags: int = 0
    signed: int = 0  # commits and tags whose signatures are not kept
    skipped: list[Skipped] = field(default_factory=list[Skipped])


@dataclass(frozen=True, slots=True)
class _Known:
    """What the log has of the repository."""

    commit: str | None = None  # the last that was taken in
    commits: dict[str, Offset] = field(default_factory=dict[str, Offset])  # that tags name now
    tags: dict[str, Offset] = field(default_factory=dict[str, Offset])


async def import_repository(
    store: Store,
    folder: Path,
    *,
    into: ContentPath,
    revision: str = "HEAD",
    max_size: int,
    progress: Progress,
) -> GitReport:
    """Take in the line of first parents that ends with `revision`, as what is below the directory `into`.

    That must be empty, or hold an older part of the same line, which is gone on with. Raises NotFound
    when there is no such repository or revision, Exists, Conflict, and GitFailed when git fails.
    """
    with closing(await asyncio.to_thread(Repository, folder)) as repository:
        newest = await asyncio.to_thread(repository.resolve, revision)
        tags = await asyncio.to_thread(lambda: list(repository.tags()))
        directory, known = await _prepare(store, into, tags)
        if known.commit and not await asyncio.to_thread(repository.follows, known.commit, newest):
            raise Conflict(
                f"{into or '/'} holds the history up to the commit {known.commit[:10]}, which is not on the "
                f"line of first parents of {revision}. Take that in elsewhere (--to)."
            )
        total = await asyncio.to_thread(repository.count, newest, known.commit)
        reader = Reader(store, repository, into, max_size, _by_commit(tags), asyncio.get_running_loop())
        report = GitReport()
        with closing(reader.batches(newest, known.commit)) as batches:
            # closed by hand: what raises in the loop would leave it waiting behind the batches
            async with aclosing(_ahead(batches)) as ready:
                async for batch in ready:
                    await _write(store, directory, batch)
                    report.commits += len(batch)
                    report.tags += sum(len(commit.tags) for commit in batch)
                    report.signed += sum(tag.is_signed for commit in batch for tag in commit.tags)
                    progress(report.commits, total)
    report.signed += reader.signed
    report.skipped = [Skipped(*skipped) for skipped in reader.skipped]
    late = [tag for tags in reader.tags.values() for tag in tags]
    await _take_late(store, directory, known, late, report)
    return report


async def _ahead(batches: Iterator[list[Ready]]) -> AsyncGenerator[list[Ready]]:
    """What `batches` gives, each made on a thread while the one before it is being used."""

    def prepare() -> asyncio.Future[list[Ready] | None]:
        # no task: a second Ctrl-C cancels all of them, and the thread would read on all the same
        return asyncio.get_running_loop().run_in_executor(None, next, batches, None)

    preparing = prepare()
    try:
        while (batch := await asyncio.shield(preparing)) is not None:
            preparing = prepare()
            yield batch
    finally:
        while not preparing.done():  # nobody may close what a thread is still reading
            with suppress(asyncio.CancelledError):
                await asyncio.wait([preparing])
        preparing.exception()  # if we end for another reason, nobody asks for this one


# -- what the log has already --------------------------------------------------------------


async def _prepare(store: Store, into: ContentPath, tags: list[Tag]) -> tuple[EntryId, _Known]:
    """The directory to go on in, made if need be, and what it has of the repository."""
    directory = (await store.write(lambda work: make_directories(work, into), Author.new(ACTOR))).id

    def query(tx: Tx) -> _Known:
        known = _find_known(tx, directory, {tag.commit for tag in tags})
        if known.commit is None and tree.names(tx, directory, 1):
            raise Exists(f"{into or '/'} is not empty; a repository goes into a folder of its own (--to).")
        return known

    return directory, await store.read(query)


def _find_known(tx: Tx, directory: EntryId, named: set[str | None]) -> _Known:
    """What was noted of git at a directory; of its commits the last, and those that are `named`."""
    last: str | None = None
    commits: dict[str, Offset] = {}
    tags: dict[str, Offset] = {}
    for recorded in _newest_first(tx, directory):
        match recorded.event:
            case CommitImported(commit=commit):
                last = last or commit
                if commit in named:
                    commits.setdefault(commit, recorded.offset)
            case TagImported(name=name, source=source):
                tags.setdefault(name, source)
            case _:
                pass
    return _Known(last, commits, tags)


def _newest_first(tx: Tx, entry: EntryId) -> Iterator[Recorded]:
    before = FAR
    while offsets := history.offsets(tx, entry, before, PAGE):
        for before in offsets:
            yield log.require(tx, before)


# -- writing -------------------------------------------------------------------------------


async def _write(store: Store, directory: EntryId, batch: list[Ready]) -> None:
    """All of them in one transaction, each a command of its author's."""
    commands = [
        (partial(_take, directory=directory, ready=ready), Author.new(_name(ready.commit.author)))
        for ready in batch
    ]
    weight = sum(put.body.weight for ready in batch for put in ready.puts)
    await store.write_together(commands, weight=weight)


def _take(work: UnitOfWork, directory: EntryId, ready: Ready) -> None:
    """A command: what a commit did, that it was this commit, and the tags on it."""
    into = _directory(work.tx, directory)
    for put in ready.puts:
        work.put(put.body)
    work.append(Replay(work.tx, into, _date(ready.commit.author)).run(ready.gone, ready.puts))
    commit = ready.commit
    event = CommitImported(
        commit=ready.id,
        author=commit.author,
        committer=commit.committer,
        message=commit.message,
        encoding=commit.encoding,
    )
    (recorded,) = work.append(rules.note_git(into, event))
    for tag in ready.tags:
        work.append(rules.note_git(into, _tagged(tag, recorded.offset)))


async def _take_late(
    store: Store, directory: EntryId, known: _Known, tags: list[Tag], report: GitReport
) -> None:
    """Tags that were made on commits after these had been taken in. Those of other commits are left out."""
    events: list[TagImported] = []
    for tag in tags:
        source = known.commits.get(tag.commit or "")
        if source is None:
            report.skipped.append(Skipped(f"the tag {tag.name}", OFF_THE_LINE))
        elif known.tags.get(tag.name) != source:
            events.append(_tagged(tag, source))
            report.signed += tag.is_signed

    def command(work: UnitOfWork) -> None:
        into = _directory(work.tx, directory)
        work.append([noted for event in events for noted in rules.note_git(into, event)])

    if events:
        await store.write(command, Author.new(ACTOR))
        report.tags += len(events)


def _by_commit(tags: list[Tag]) -> dict[str, list[Tag]]:
    """The tags of each commit; those of none under "", which is no commit's id."""
    found: dict[str, list[Tag]] = {}
    for tag in tags:
        found.setdefault(tag.commit or "", []).append(tag)
    return found


def _tagged(tag: Tag, source: Offset) -> TagImported:
    return TagImported(name=tag.name, source=source, tagger=tag.tagger, message=tag.message)


def _directory(tx: Tx, directory: EntryId) -> Entry:
    found = tree.by_id(tx, directory)
    if found is None:
        raise NotFound("The folder that the repository goes into was deleted meanwhile.")
    return found


def _name(ident: str) -> str:
    """Who is meant by `Name <email> seconds zone`."""
    name, _, rest = ident.partition("<")
    return name.strip() or rest.partition(">")[0].strip() or ACTOR


def _date(ident: str) -> int:
    """When that was, in µs since 1970."""
    return min(int(ident.rsplit(" ", 2)[1]) * 1_000_000, LATEST)
