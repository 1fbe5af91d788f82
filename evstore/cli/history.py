"""`evstore log`, `deleted` and `checkpoints`: what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click
from rich.filesize import decimal

from evstore.cli.access import reading
from evstore.cli.output import json_option, local_time, print_json, print_table
from evstore.cli.path_args import PathType, on_log
from evstore.core import codec
from evstore.core.events import (
    CheckpointCreated,
    CheckpointDeleted,
    CommitImported,
    EntryCreated,
    EntryMoved,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    TagImported,
    format_id,
)
from evstore.core.paths import ContentPath
from evstore.http import models
from evstore.projections import tree
from evstore.services.checkpoints import Checkpoints
from evstore.services.contents import Contents
from evstore.services.history import FAR, History, HistoryItem
from evstore.store.store import Store

PAGE = 500  # events looked at in one go

limit_option = click.option(
    "--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)


@click.command()
@click.argument("path", type=PathType(), default=".")
@click.option("--actor", help="Only what this author did.")
@click.option(
    "--event",
    type=click.Choice(list(codec.EVENT_TYPES)),
    metavar="NAME",
    help="Only events of this name, as the log shows them.",
)
@limit_option
@json_option
@on_log
def log(db: Path, path: ContentPath, actor: str | None, event: str | None, limit: int, as_json: bool) -> None:
    """What happened to PATH and all below it, across renames, the newest first.

    PATH is a file or folder, here or anywhere in the served folder; without it, the current folder.
    """
    asyncio.run(_log(db, path, limit, as_json, lambda told: _is_wanted(told, actor, event)))


def _is_wanted(told: HistoryItem, actor: str | None, event: str | None) -> bool:
    if actor is not None and told.recorded.actor != actor:
        return False
    return event is None or type(told.recorded.event).__name__ == event


async def _log(
    db: Path, path: ContentPath, limit: int, as_json: bool, is_wanted: Callable[[HistoryItem], bool]
) -> None:
    async with reading(db) as store:
        found: list[HistoryItem] = []
        async for told in _newest_first(store, path):
            if is_wanted(told):
                found.append(told)
            if len(found) == limit:
                break
        if as_json:
            print_json({"events": [models.logged(told) for told in found], "head": store.offset})
            return
        rows = [
            (
                one.offset,
                local_time(one.at),
                one.actor,
                type(one.event).__name__,
                told.path or "/",
                await _detail(store, told),
            )
            for told in found
            for one in (told.recorded,)
        ]
    print_table(("Offset", "Time", "Actor", "Event", "Path", ""), rows)


async def _newest_first(store: Store, path: ContentPath) -> AsyncIterator[HistoryItem]:
    before: int | None = FAR
    while before is not None:
        page, before = await History(store).versions(path, before, PAGE)
        for told in page:
            yield told


async def _detail(store: Store, told: HistoryItem) -> str:
    """What there is to say of an event besides its name."""
    match told.recorded.event:
        case FileSaved(size=size):
            return decimal(size)
        case FileRestored(source=source):
            return f"as of {source}"
        case EntryCreated(kind=kind, copied_from=source):
            return f"{kind}, a copy" if source else kind
        case EntryMoved():
            entry, offset = told.recorded.entry, told.recorded.offset
            before = await store.read(lambda tx: tree.path_of(tx, entry, offset - 1))
            return f"from {before}"
        case CheckpointCreated(label=label):
            return label or ""
        case CheckpointDeleted(checkpoint=checkpoint):
            return f"of {checkpoint}"
        case ExecutableChanged(executable=executable):
            return "yes" if executable else "no"
        case CommitImported(commit=commit, message=message):
            subject = message.lstrip().partition("\n")[0]
            return f"{commit[:10]} {subject}"
        case TagImported(name=name, source=source):
            return f"{name}, as of {source}"
        case _:
            return ""


@click.command()
@click.argument("path", type=PathType(), default=".")
@limit_option
@json_option
@on_log
def deleted(db: Path, path: ContentPath, limit: int, as_json: bool) -> None:
    """What was deleted below PATH (the current folder) and can be brought back with `evstore undelete`."""
    asyncio.run(_deleted(db, path, limit, as_json))


async def _deleted(db: Path, path: ContentPath, limit: int, as_json: bool) -> None:
    async with reading(db) as store:
        found = await History(store).deleted(path, limit=limit)
    if as_json:
        print_json({"deleted": [models.deleted(one) for one in found]})
        return
    rows = [
        (one.offset, local_time(one.at), one.actor, one.kind, one.path, format_id(one.entry)) for one in found
    ]
    print_table(("Offset", "Time", "Actor", "Kind", "Path", "Entry"), rows)


@click.command()
@click.argument("path", type=PathType())
@json_option
@on_log
def checkpoints(db: Path, path: ContentPath, as_json: bool) -> None:
    """The checkpoints of the file PATH, the oldest first."""
    asyncio.run(_checkpoints(db, path, as_json))


async def _checkpoints(db: Path, path: ContentPath, as_json: bool) -> None:
    async with reading(db) as store:
        await Contents(store).get(path)  # raises NotFound
        found = await Checkpoints(store).list(path)
    if as_json:
        print_json([models.checkpoint(one) | {"label": one.label} for one in found])
        return
    rows = [(one.offset, local_time(one.at), one.label or "") for one in found]
    print_table(("Offset", "Time", "Label"), rows)
