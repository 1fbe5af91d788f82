"""`evstore restore` and `evstore undelete`: back to what was, as new events that can be undone as well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from evstore.cli.access import reading, writing
from evstore.cli.output import count, json_option, print_json, printable
from evstore.cli.path_args import PathType, Typed, on_log
from evstore.cli.time_args import HELP, MomentType
from evstore.core.errors import Conflict, NotFound
from evstore.core.events import EntryId
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Tx
from evstore.log.log import Moment
from evstore.projections import history, tree
from evstore.services.history import FAR


@click.command()
@click.argument("path", type=PathType())
@click.option(
    "--at", type=MomentType(), metavar="MOMENT", required=True, help=f"The moment to go back to: {HELP}."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would change.")
@json_option
@on_log
def restore(db: Path, path: ContentPath, at: Moment, dry_run: bool, as_json: bool) -> None:
    """Make the file or folder PATH what it was; "/" is everything."""
    asyncio.run(_restore(db, path, at, dry_run, as_json))


async def _restore(db: Path, path: ContentPath, at: Moment, dry_run: bool, as_json: bool) -> None:
    async with writing(db) as log:
        done = await log.restore(path, at, dry_run=dry_run)
    if as_json:
        print_json(done)
        return
    changes = done["changes"]
    for change in changes:
        from_path = f"{change['from_path']} -> " if "from_path" in change else ""
        click.echo(f"{change['action']:<9} {printable(from_path + change['path'])}")
    if not changes:
        click.echo("Nothing to do: it is so already.")
    elif dry_run:
        click.echo(f"{count(len(changes), 'change')} would be made.")
    else:
        click.echo(f"{count(len(changes), 'change')} made; the log ends at offset {done['offset']} now.")


class PathOrEntry(PathType):
    """A path, or an entry's id."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Typed | EntryId:
        try:
            return EntryId(UUID(value).bytes)
        except ValueError:
            return super().convert(value, param, ctx)


@click.command()
@click.argument("what", metavar="PATH|ENTRY", type=PathOrEntry())
@click.option("--to", type=PathType(), help="Where it shall be.  [default: where it was]")
@json_option
@on_log
def undelete(db: Path, what: ContentPath | EntryId, to: ContentPath | None, as_json: bool) -> None:
    """Bring back what was deleted at PATH, with its history; or the ENTRY that `evstore deleted` lists.

    PATH may have been in a folder that was deleted: with --to it comes back alone.
    """
    asyncio.run(_undelete(db, what, to, as_json))


async def _undelete(db: Path, what: ContentPath | EntryId, to: ContentPath | None, as_json: bool) -> None:
    entry = await _find_deleted(db, what, to) if isinstance(what, ContentPath) else what
    async with writing(db) as log:
        path = await log.undelete(entry, to)
    if as_json:
        print_json({"path": path})
    else:
        click.echo(f"It is at {printable(path)} again.")


async def _find_deleted(db: Path, path: ContentPath, to: ContentPath | None) -> EntryId:
    async with reading(db) as store:
        entry = await store.read(lambda tx: _deleted_at(tx, path))
        if to is None:
            await store.read(lambda tx: _check_parent(tx, path))
        return entry


def _deleted_at(tx: Tx, path: ContentPath) -> EntryId:
    """What was deleted last at `path`, by itself or with a folder above it."""
    for deletion in history.deletions(tx, FAR, FAR):
        entry = tree.entry_at(tx, path, deletion.offset - 1)
        where = tree.path_of(tx, deletion.entry, deletion.offset - 1)
        is_it = where is not None and (path == where or path.is_below(where))
        if is_it and entry is not None and tree.by_id(tx, entry.id) is None:
            return entry.id
    raise NotFound(f"Nothing that was deleted was at {path}; `evstore deleted` lists what was.")


def _check_parent(tx: Tx, path: ContentPath) -> None:
    for folder in path.lineage[:-1]:
        if tree.entry_at(tx, folder) is None:
            raise Conflict(
                f"The folder {folder} is gone as well: undelete that, with all that was in it, or say with --to where "
                f"{path.name} shall be."
            )
