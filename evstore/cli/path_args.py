"""Which log is meant, and which path in it: what a person types are files and folders as the shell sees them.

As git does, evstore looks for its own directory in the folder that is named, or where one stands, and then in those
above it; so `evstore log model.ipynb` works in any folder below the served one, and `evstore log ~/notebooks`
from anywhere.
"""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click

from evstore.cli.options import DATABASE, DIRECTORY, database_of, db_option, existing_folder, option
from evstore.core.errors import Forbidden, NotFound
from evstore.core.paths import ContentPath
from evstore.worktree.disk.folder_lock import last_owner
from evstore.worktree.disk.rooted_dir import is_own

MARK = "folder"  # as in `evstore.worktree.folder_id`


class Typed(str):
    """A path as it was typed; what it is in the log is known once the log is."""


class PathType(click.ParamType[Any]):
    """A file or folder, which need not be there any more. A command by `at_place` or `on_log` gets a ContentPath."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return Typed(value)


@dataclass(frozen=True, slots=True)
class Place:
    """A log and its folder, and where in it somebody stands."""

    db: Path
    top: Path  # the served folder; a guess with --db, for such a log does not know its folder
    start: Path  # absolute

    @classmethod
    def find(cls, start: Path, db: Path | None, typed: Typed | None) -> Self:
        """The place that is meant by what was typed when standing in `start`; its log need not be there yet."""
        starts = (
            [start] if typed in (None, "/") else [_absolute(start, typed), start]
        )  # `/` is all that is here
        signs = (DATABASE, MARK) if db is None else (MARK,)  # the mark is there wherever the log is
        for sign, folder in ((sign, folder) for sign in signs for one in starts for folder in _upwards(one)):
            if os.path.exists(folder / DIRECTORY / sign):
                top = folder.resolve()
                return cls(database_of(top, db), top, start)
        return cls(database_of(start, db), start, start)

    def path(self, typed: Typed) -> ContentPath:
        """What a typed path is in the log. Raises NotFound when that is outside, Forbidden in evstore's own folder."""
        absolute = _absolute(self.start, typed)
        for candidate in (absolute, Path(os.path.realpath(absolute.parent), absolute.name)):
            if candidate.is_relative_to(self.top):
                return _parse("/".join(candidate.relative_to(self.top).parts))
        if typed.startswith("/"):  # `/` is everything, `/a` is at the top
            return _parse(posixpath.normpath(typed))
        raise NotFound(f"{typed} is not in {self.top}.")

    def check_way(self, path: ContentPath) -> None:
        """Raise Forbidden when what is written to `path`, or below it, would go through a link."""
        for place in path.lineage:
            if os.path.islink(self.top / place):
                raise Forbidden(f"{place} is a symbolic link: nothing is written through links.")

    def check_log(self) -> None:
        """Raise NotFound unless the log is there."""
        if self.db.exists():
            return
        last = last_owner(self.top)
        if last is not None and os.path.exists(last.db):
            raise NotFound(f"There is no log at {self.db}; the folder was last served with --db {last.db}")
        raise NotFound(
            f"There is no log at {self.db}. `evstore serve` begins one; --folder says where to look."
        )


def _parse(text: str) -> ContentPath:
    path = ContentPath.parse(text)
    for place in path.lineage:
        if is_own(place.name):
            raise Forbidden(f"{place} is evstore's own folder: it is not in the log.")
    return path


def _absolute(start: Path, typed: str) -> Path:
    return Path(os.path.normpath(start / typed))


def _upwards(start: Path) -> Iterator[Path]:
    """`start`, and the folders above it in which evstore's own directory is ours.

    Else anybody who may write to /tmp would have a say in what is done below it.
    """
    yield start
    for folder in start.parents:
        with suppress(OSError):
            if os.stat(folder / DIRECTORY).st_uid == os.geteuid():
                yield folder


folder_option = option(
    "--folder",
    "-C",
    type=click.Path(path_type=Path),
    default=".",
    help="Do as if started there.  [default: the current folder]",
)
folder_argument = click.argument("where", metavar="[FOLDER]", type=click.Path(path_type=Path), required=False)


def at_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --folder and --db; it gets `place`. What was typed for PathType is a path in that place's log."""

    @functools.wraps(command)
    def run(folder: Path, db: Path | None, **rest: Any) -> None:
        start = existing_folder(folder / (rest.pop("where", None) or ""))
        typed = [one for one in rest.values() if isinstance(one, Typed)]
        place = Place.find(start, db, typed[0] if typed else None)
        given = {name: place.path(one) if isinstance(one, Typed) else one for name, one in rest.items()}
        command(place=place, **given)

    return folder_option(db_option(run))


def on_log(command: Callable[..., None]) -> Callable[..., None]:
    """`at_place` for a log that must be there: the command gets `db`. Raises NotFound."""

    @at_place
    @functools.wraps(command)
    def run(place: Place, **rest: Any) -> None:
        place.check_log()
        try:
            command(db=place.db, **rest)
        except NotFound as error:
            # here, because it needs much that most commands don't
            from evstore.cli.not_found_hints import explain

            paths = [one for one in rest.values() if isinstance(one, ContentPath)]
            better = explain(place.top, place.db, paths[0]) if paths else None
            raise NotFound(better or error.message) from None

    return run
