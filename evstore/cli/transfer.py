"""`evstore import` and `evstore export`: files into the log, and any moment of it back onto the disk."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evstore.cli.access import ThroughServer, holding_folder, reading, writing, written_out
from evstore.cli.options import defaults_of, existing_folder, make_directory, option
from evstore.cli.output import (
    describe_export,
    describe_git_export,
    describe_git_import,
    describe_import,
    json_option,
    print_json,
    progress,
)
from evstore.cli.path_args import PathType, Place, at_place, on_log
from evstore.cli.time_args import HELP, MomentType
from evstore.config import Config
from evstore.core import rules
from evstore.core.errors import Forbidden, Locked, NotLetIn, TooLarge
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log.engine.base import Tx
from evstore.log.log import Moment
from evstore.projections import executables, tree
from evstore.store.store import Store
from evstore.transfer.folder_export import Exported
from evstore.transfer.folder_export import export as export_tree
from evstore.transfer.folder_import import Progress, Report, find, import_folder
from evstore.transfer.git.git_export import GitExported, export_repository
from evstore.transfer.git.git_import import GitReport, import_repository
from evstore.transfer.git.repository import Repository
from evstore.worktree.disk.disk import Disk, FileStat, FileType, Skipped, Unreadable

if TYPE_CHECKING:
    from evstore.http.client import Client
    from evstore.http.models import Model

HEAD = "HEAD"  # what is checked out
PIECE = 4 * MIB  # bytes of a file in one request to a server


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "into",
    type=PathType(),
    default=".",
    help="The folder that the files go into.  [default: the current one]",
)
@option(
    "--max-body-size",
    type=click.IntRange(min=1),
    default=defaults_of(Config)["max_body_size"],
    show_default=True,
    help="The largest file to take in, in bytes.",
)
@click.option("--git", "from_git", is_flag=True, help="SOURCE is a git repository: take in its history.")
@click.option(
    "--branch",
    metavar="NAME",
    help="With --git: the branch, tag or commit whose history it is.  [default: what is checked out]",
)
@json_option
@at_place
def import_(
    place: Place,
    source: Path,
    into: ContentPath,
    max_body_size: int,
    from_git: bool,
    branch: str | None,
    as_json: bool,
) -> None:
    """Take in the files of the folder SOURCE, with their dates and which of them are programs; new versions of those that are there already.

    Files that are there with the same size and date are passed over; while a server runs, through which they go then,
    those with the same bytes.

    In a folder that was never served, the files are written to the disk by the first `evstore serve`.

    With --git each commit of the repository SOURCE becomes a step of the history, with its author, dates and
    message; renamed files keep their histories. Of merges the first parent is followed, so what a merge brought
    in is one step. Hidden files are taken in and not served; symbolic links and submodules are left out,
    and told. The folder that the files go into must be empty, or hold an older part of the same
    history: then what is new is taken in. The server must not be running.
    """
    if branch is not None and not from_git:
        raise click.UsageError("--branch is for --git.")
    source = existing_folder(source)
    db = place.db
    place.check_way(into)
    if from_git:
        with closing(Repository(source)) as repository:  # before a log is begun for it
            repository.resolve(branch or HEAD)
    make_directory(db)
    if from_git:
        told = asyncio.run(_import_git(db, source, into, branch or HEAD, max_body_size))
        tell(told, as_json, describe_git_import(told))
        return
    report = asyncio.run(_import(db, source, into, max_body_size))
    tell(report, as_json, [*describe_import(report)] or ["There was nothing to take in."])


async def _import(db: Path, source: Path, into: ContentPath, max_size: int) -> Report:
    with progress(f"Taking in {source}") as advance:
        async with writing(db) as log:
            if isinstance(log, ThroughServer):
                return await _send(log.client, db, source, into, max_size, advance)
            return await import_folder(
                log.store,
                source,
                db,
                max_size=max_size,
                progress=advance,
                into=into,
                check_way=log.check_way,
            )


async def _send(
    client: Client, db: Path, source: Path, into: ContentPath, max_size: int, advance: Progress
) -> Report:
    report = Report()
    disk = await asyncio.to_thread(Disk, source)
    sources, report.skipped = await asyncio.to_thread(find, disk, db, max_size)
    for folder in into.lineage:
        await client.make_directory(folder)
    async with reading(db) as store:
        for done, one in enumerate(sources, 1):
            try:
                report.add(await _send_one(client, store, disk, one, into.child(one.path)))
            except Unreadable as error:
                report.skipped.append(Skipped(one.path, error.why))
            except NotLetIn:
                raise
            except TooLarge:
                report.skipped.append(Skipped(one.path, "larger than the server takes (--max-body-size)"))
            except (Forbidden, *rules.REFUSALS) as error:
                report.skipped.append(Skipped(one.path, error.message))
            advance(done, len(sources))
    return report


async def _send_one(client: Client, store: Store, disk: Disk, one: FileStat, path: ContentPath) -> Report:
    """Make a directory, or send a file, unless there is the same at `path` already, which `store` is asked as well."""
    there = await client.look(path)
    if one.what is FileType.DIRECTORY:
        if there is not None and there["type"] == "directory":
            return Report(unchanged=1)
        await client.make_directory(path)
        return Report(directories=1)
    file, found = await asyncio.to_thread(disk.open, one.path)

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece

    with file:
        if there is not None and there["size"] == found.stamp.size:
            digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            if there["hash"] == digest.hexdigest() and await _has_mode(store, path, there, found):
                return Report(unchanged=1)
            file.seek(0)
        await client.upload(path, pieces(), modified=found.modified, executable=found.executable)
    return Report(files=1, bytes=found.stamp.size)


async def _has_mode(store: Store, path: ContentPath, there: Model, found: FileStat) -> bool:
    """Whether what is there is a program if `found` is one. What has no versions keeps its mode."""
    if not there.get("versioned", True):
        return True

    def query(tx: Tx) -> bool:
        entry = tree.entry_at(tx, path)
        return entry is not None and executables.is_executable(tx, entry.id) == found.executable

    return await store.read(query)


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--at", type=MomentType(), metavar="MOMENT", help=f"As of this moment: {HELP}.  [default: now]")
@click.option("--path", type=PathType(), help="Only this file or folder.  [default: all]")
@click.option(
    "--force",
    is_flag=True,
    help="Write into a folder that is not empty; files of the same names are replaced.",
)
@click.option("--git", "to_git", is_flag=True, help="Write the whole history, as a git repository.")
@json_option
@on_log
def export(
    db: Path,
    target: Path,
    at: Moment | None,
    path: ContentPath | None,
    force: bool,
    to_git: bool,
    as_json: bool,
) -> None:
    """Write all files, as they are or were at any moment, into the folder TARGET, byte for byte.

    With --git, write the whole history up to that moment as a git repository: one commit for each step, by whom
    and when it was; checkpoints with a label become tags. Folders without files are left out. What came out of git
    is again as it was. TARGET is new or empty, or was written by an earlier export, which is then
    gone on with. Notes say of which offset each commit is: git log --notes=evstore
    """
    if to_git:
        if path is not None or force:
            raise click.UsageError(
                "--git writes all there is, into a repository of its own: no --path, no --force."
            )
        written = asyncio.run(_export_git(db, target, at))
        tell(written, as_json, describe_git_export(written, target))
        return
    done = asyncio.run(_export(db, target, at, path or ContentPath(), force))
    tell(done, as_json, describe_export(done, target))


async def _export(db: Path, target: Path, at: Moment | None, path: ContentPath, force: bool) -> Exported:
    async with reading(db) as store:
        with progress("Exporting") as advance:
            return await export_tree(store, path, at, target, advance, force=force)


def tell(report: Report | Exported | GitReport | GitExported, as_json: bool, lines: Iterable[str]) -> None:
    """Print what was done, for programs or for people."""
    if as_json:
        print_json(asdict(report))
    else:
        click.echo("\n".join(lines))


async def _import_git(db: Path, source: Path, into: ContentPath, branch: str, max_size: int) -> GitReport:
    try:
        store = await Store.open(db)
    except Locked as locked:
        raise Locked(
            f"{locked.message} Stop it: a repository's history is taken in without a server."
        ) from None
    try:
        with holding_folder(db), progress(f"Taking in the history of {source}") as advance:
            report = await import_repository(
                store, source, into=into, revision=branch, max_size=max_size, progress=advance
            )
            async with written_out(store, db):
                return report  # only what the last commit left there is written, and not all that was before
    finally:
        await store.close()


async def _export_git(db: Path, target: Path, at: Moment | None) -> GitExported:
    async with reading(db) as store:
        with progress("Writing the history") as advance:
            return await export_repository(store, target, at, advance)
