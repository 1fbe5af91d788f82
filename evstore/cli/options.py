"""How options are declared, and the option and the folder that say which log is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from evstore.core.errors import NotFound

F = TypeVar("F", bound=Callable[..., Any])

DIRECTORY = ".evstore"  # in the served folder: the log and what belongs to it
DATABASE = "log.db"
THE_FOLDER = "The folder"  # a section of the help


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
    """A command whose help has its options in sections; what is in none comes last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for param in sorted(options, key=lambda one: not isinstance(one, SectionedOption)):
            if record := param.get_help_record(ctx):
                sections.setdefault(getattr(param, "section", "More"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class SectionedOption(click.Option):
    """An option that stands in a section of the help."""

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What stands in brackets: without the range, which says `x>=0` of most."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def defaults_of(settings: type[Any], prefix: str = "") -> dict[str, Any]:
    """The defaults of a dataclass's fields, by the names that click has for the flags `--PREFIX-FIELD`."""
    return {prefix + field.name: field.default for field in fields(settings) if field.default is not MISSING}


def section(title: str, defaults: Mapping[str, Any]) -> Callable[..., Callable[[Any], Any]]:
    """`option`, for the options of one section. Those named in `defaults` have that default, if they give none."""

    def make(*names: str, **settings: Any) -> Callable[[Any], Any]:
        known = {"default": defaults[name]} if (name := field_of(names)) in defaults else {}
        if isinstance(settings.get("type"), click.IntRange | click.FloatRange):
            known["metavar"] = "NUMBER"
        return option(*names, cls=SectionedOption, section=title, **known | settings)

    return make


db_option = section(THE_FOLDER, {})(
    "--db",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The log.  [default: {DIRECTORY}/{DATABASE} in the folder]",
)


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
