"""The command line: one module per command, loaded when it is asked for.

What goes wrong becomes one plain sentence here, and nowhere else. Exit codes: 0 it was done,
1 it could not be done, 2 the command was not understood.
"""

from __future__ import annotations

import sqlite3
from importlib import import_module
from typing import Any

import click

from evstore.core.errors import EvstoreError

COMMANDS = {  # name -> module:function, and what --help says of it, in its order
    "serve": ("serve:serve", "Serve a folder to JupyterLab, Notebook and other clients."),
    "status": ("status:status", "Whether the log and the files in the folder are in step."),
    "log": ("history:log", "What happened to a file or folder, or to all."),
    "show": ("show:show", "Print a file or list a folder, as of any moment."),
    "diff": ("show:diff", "What changed in a file between two moments."),
    "restore": ("restore:restore", "Make a file or folder what it was."),
    "deleted": ("history:deleted", "What was deleted and can be brought back."),
    "undelete": ("restore:undelete", "Bring back what was deleted."),
    "checkpoints": ("history:checkpoints", "The checkpoints of a file."),
    "import": ("transfer:import_", "Take in the files of a folder."),
    "export": ("transfer:export", "Write all files into a folder, as of any moment."),
    "backup": ("maintenance:backup", "Copy the log, also while a server runs."),
    "verify": ("maintenance:verify", "Check the log for damage."),
    "rebuild": ("maintenance:rebuild", "Make anew all that follows from the log."),
}


class Commands(click.Group):
    """The commands of COMMANDS. Only the one that runs is imported, for the server's parts take half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        return getattr(import_module(f"evstore.cli.{module}"), function)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EvstoreError as error:
            # here, for what has gone well needs none of it
            from evstore.cli.output import printable

            raise click.ClickException("\n".join(map(printable, error.message.split("\n")))) from None
        except BrokenPipeError:
            raise  # click knows what to do: `evstore log | head` is no failure
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise click.ClickException(f"{error.strerror or error}{where}") from None
        except sqlite3.Error as error:
            raise click.ClickException(
                f"The database can't be used ({error}). `evstore verify` tells more."
            ) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="evstore", prog_name="evstore")
def main() -> None:
    """A Jupyter server that never loses work: every save is kept, and can be read and restored.

    What can be set for `serve` can be given as an environment variable, too: --base-url as EVSTORE_BASE_URL.
    """
