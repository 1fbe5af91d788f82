"""Options that several commands share: which log is meant, and how it is told."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from evstore.errors import NotFound
from evstore.paths import ContentPath

F = TypeVar("F", bound=Callable[..., Any])

DIRECTORY = ".evstore"  # in the served folder: the log and what belongs to it
DATABASE = "log.db"


def option(*names: str, also: str = "", **settings: Any) -> Callable[[F], F]:
    """A click option with its environment variable: `--base-url` is EVSTORE_BASE_URL.

    `also` is another variable, which counts when that is not set.
    """
    variable = "EVSTORE_" + field_of(names).upper()
    variables = [variable, also] if also else variable
    return click.option(*names, envvar=variables, show_envvar=True, **settings)


def field_of(names: Sequence[str]) -> str:
    """The setting that a flag of these names sets: base_url for --base-url."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    return long.removeprefix("--").removeprefix("no-").replace("-", "_")


class SectionedCommand(click.Command):
    """A command whose help has its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                sections.setdefault(getattr(param, "section", "General"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class SectionedOption(click.Option):
    """An option that stands in a section of the help."""

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


def defaults_of(settings: type[Any], prefix: str = "") -> dict[str, Any]:
    """The defaults of a dataclass's fields, by the names that click has for the flags `--PREFIX-FIELD`."""
    return {prefix + field.name: field.default for field in fields(settings) if field.default is not MISSING}


def section(title: str, defaults: Mapping[str, Any]) -> Callable[..., Callable[[Any], Any]]:
    """`option`, for the options of one section. Those named in `defaults` have that default, if they give none."""

    def make(*names: str, **settings: Any) -> Callable[[Any], Any]:
        known = {"default": defaults[name]} if (name := field_of(names)) in defaults else {}
        return option(*names, cls=SectionedOption, section=title, **known | settings)

    return make


folder_option = option(
    "--folder",
    "-C",
    type=click.Path(path_type=Path),
    default=".",
    help="The served folder.  [default: the current one]",
)
db_option = option(
    "--db",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The log.  [default: {DIRECTORY}/{DATABASE} in the folder]",
)


class PathType(click.ParamType[ContentPath]):
    """A click parameter that is the path of an entry, seen from the served folder: `a/b.txt`, `./a`, `/`."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ContentPath:
        path = posixpath.normpath(str(value))
        return ContentPath.parse("" if path == "." else path)


def on_log(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --folder and --db; it gets `db`, the path of a log that exists. Raises NotFound."""

    @functools.wraps(command)
    def run(folder: Path, db: Path | None, **rest: Any) -> None:
        command(db=require_log(database_of(folder if db else existing_folder(folder), db)), **rest)

    return folder_option(db_option(run))


def require_log(db: Path) -> Path:
    """`db`, which must be there. Raises NotFound."""
    if not db.exists():
        raise NotFound(f"There is no log at {db}. `evstore serve` begins one; --folder says where to look.")
    return db


def existing_folder(folder: Path) -> Path:
    """`folder` as an absolute path. Raises NotFound."""
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise NotFound(f"The folder {folder} {problem}.")
    return folder.resolve()


def database_of(folder: Path, db: Path | None) -> Path:
    """The path of the log: `db`, or the default place in `folder`."""
    return db.absolute() if db is not None else folder / DIRECTORY / DATABASE


def make_directory(db: Path) -> None:
    """The directory for the log, for its owner only; git is told to leave it alone."""
    directory = db.parent
    if directory.is_dir():
        return
    directory.mkdir(parents=True, mode=0o700)
    if directory.name == DIRECTORY:
        (directory / ".gitignore").write_text("*\n")
