"""`evstore import` and `evstore export`: files into the log, and any moment of it back onto the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

from evstore.cli.access import ThroughServer, reading, writing
from evstore.cli.moments import HELP, MomentType
from evstore.cli.options import (
    PathType,
    database_of,
    db_option,
    defaults_of,
    existing_folder,
    folder_option,
    make_directory,
    on_log,
    option,
)
from evstore.cli.output import count, describe_import, json_option, print_json, progress
from evstore.config import Config
from evstore.contents import Contents
from evstore.events import Author
from evstore.log.log import Moment
from evstore.paths import ContentPath
from evstore.transfer.exporting import Exported
from evstore.transfer.exporting import export as export_tree
from evstore.transfer.folder import Skipped, Source, Unreadable, open_file
from evstore.transfer.importing import ACTOR, REFUSALS, Progress, Report, find, import_folder
from evstore.units import MIB

if TYPE_CHECKING:
    from evstore.http.client import Client

PIECE = 4 * MIB  # bytes of a file in one request to a server


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--to", "into", type=PathType(), default="", help="The folder that the files go into.  [default: /]"
)
@option(
    "--max-body-size",
    type=click.IntRange(min=1),
    default=defaults_of(Config)["max_body_size"],
    show_default=True,
    help="The largest file to take in, in bytes.",
)
@folder_option
@db_option
@json_option
def import_(
    source: Path, into: ContentPath, max_body_size: int, folder: Path, db: Path | None, as_json: bool
) -> None:
    """Take in the files of the folder SOURCE, with their dates; new versions of those that are there already.

    Files that are there with the same size and date are passed over. While a server runs the files
    go through it, and have the date of today.
    """
    source = existing_folder(source)
    db = database_of(folder if db else existing_folder(folder), db)
    make_directory(db)
    report = asyncio.run(_import(db, source, into, max_body_size))
    if as_json:
        print_json(asdict(report))
    else:
        click.echo("\n".join(describe_import(report)) or "There was nothing to take in.")


async def _import(db: Path, source: Path, into: ContentPath, max_size: int) -> Report:
    with progress(f"Taking in {source}") as advance:
        async with writing(db) as log:
            if isinstance(log, ThroughServer):
                return await _send(log.client, db, source, into, max_size, advance)
            for folder in _folders(into):
                await Contents(log.store).create_directory(folder, Author.new(ACTOR))
            return await import_folder(log.store, source, db, max_size=max_size, progress=advance, into=into)


def _folders(path: ContentPath) -> list[ContentPath]:
    """`path` and the folders above it, from the top."""
    return [ContentPath("/".join(path.names[:depth])) for depth in range(1, len(path.names) + 1)]


async def _send(
    client: Client, db: Path, source: Path, into: ContentPath, max_size: int, advance: Progress
) -> Report:
    report = Report()
    sources = await asyncio.to_thread(find, source, into, db, max_size, report)
    for folder in _folders(into):
        await client.make_directory(folder)
    for done, one in enumerate(sources, 1):
        try:
            if one.is_directory:
                await client.make_directory(one.path)
                report.directories += 1
            else:
                report.bytes += await _send_file(client, one)
                report.files += 1
        except (Unreadable, *REFUSALS) as error:
            report.skipped.append(Skipped(one.path, error.message))
        advance(done, len(sources))
    return report


async def _send_file(client: Client, source: Source) -> int:
    file, found = await asyncio.to_thread(open_file, source)

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece

    with file:
        await client.upload(source.path, pieces())
    return found.st_size


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--at", type=MomentType(), metavar="MOMENT", help=f"As of this moment: {HELP}.  [default: now]")
@click.option("--path", type=PathType(), default="", help="Only this file or folder.")
@click.option(
    "--force",
    is_flag=True,
    help="Write into a folder that is not empty; files of the same names are replaced.",
)
@json_option
@on_log
def export(db: Path, target: Path, at: Moment | None, path: ContentPath, force: bool, as_json: bool) -> None:
    """Write all files, as they are or were at any moment, into the folder TARGET, byte for byte."""
    done = asyncio.run(_export(db, target, at, path, force))
    if as_json:
        print_json(asdict(done))
        return
    folders = f" and {count(done.directories, 'folder')}" if done.directories else ""
    click.echo(
        f"Wrote {count(done.files, 'file')}{folders} ({decimal(done.bytes)}) as of offset {done.offset} to {target}."
    )


async def _export(db: Path, target: Path, at: Moment | None, path: ContentPath, force: bool) -> Exported:
    async with reading(db) as store:
        with progress("Exporting") as advance:
            return await export_tree(store, path, at, target, advance, force=force)
