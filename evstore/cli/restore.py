"""`evstore restore` and `evstore undelete`: back to what was, as new events that can be undone as well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from evstore.cli.access import reading, writing
from evstore.cli.moments import HELP, MomentType
from evstore.cli.output import count, json_option, print_json, printable
from evstore.cli.places import PathType, Typed, on_log
from evstore.errors import NotFound
from evstore.events import EntryId
from evstore.history import History
from evstore.log.log import Moment
from evstore.paths import ContentPath


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
    """Bring back what was deleted at PATH, with its history; or the ENTRY that `evstore deleted` lists."""
    asyncio.run(_undelete(db, what, to, as_json))


async def _undelete(db: Path, what: ContentPath | EntryId, to: ContentPath | None, as_json: bool) -> None:
    entry = await _deleted_at(db, what) if isinstance(what, ContentPath) else what
    async with writing(db) as log:
        path = await log.undelete(entry, to)
    if as_json:
        print_json({"path": path})
    else:
        click.echo(f"It is at {printable(path)} again.")


async def _deleted_at(db: Path, path: ContentPath) -> EntryId:
    """What was deleted last at `path`."""
    async with reading(db) as store:
        for one in await History(store).deleted(path.parent):
            if one.path == path:
                return one.entry
    raise NotFound(f"Nothing that was deleted was at {path}; `evstore deleted` lists what was.")
