"""The flags of `evstore serve`, in the sections of its help."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

import click

from evstore.cli.gateway import OPTIONS as GATEWAY
from evstore.cli.options import THE_FOLDER, db_option, defaults_of, option, section
from evstore.config import Config
from evstore.lab.apps import APPS

DEFAULTS = defaults_of(Config)
PORT: int = DEFAULTS["port"]


class BaseUrl(click.ParamType[str]):
    """Where the server stands below its host: `me`, `/user/ann@example.org/`. It gets a slash at both ends.

    Only what means itself in an address, a route, a cookie and a policy; it may come percent-encoded,
    and stays as it was given, for browsers compare it letter by letter.
    """

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        segments = [segment for segment in str(value).split("/") if segment]
        for segment in segments:
            plain = unquote(segment)
            if not re.fullmatch(r"[A-Za-z0-9._~@+-]+", plain) or plain in (".", ".."):
                self.fail(
                    f"{value!r}: use letters, digits and . _ ~ @ + - between slashes, as in /me/.", param, ctx
                )
        return "/" + "".join(f"{segment}/" for segment in segments)


class CommandLine(click.ParamType[tuple[str, ...]]):
    """A command with its arguments, as one would type it: `bash -l`."""

    name = "command"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):  # the default
            return cast("tuple[str, ...]", value)
        try:
            return tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


folder = section(THE_FOLDER, DEFAULTS)
place = section("Where it listens", DEFAULTS)
access = section("Who gets in", DEFAULTS)
front_end = section("Front ends", DEFAULTS)
kernel = section("Kernels", DEFAULTS)
kept = section("What kernels print while nobody is there", DEFAULTS)
idle = section("Idle kernels, unused servers", DEFAULTS)
terminal = section("Terminals", DEFAULTS)
limit = section("Limits", DEFAULTS)

OPTIONS = (
    db_option,
    folder(
        "--allow-network-db",
        is_flag=True,
        help="Start also when the log is on a network file system, where SQLite can lose what it has saved.",
    ),
    folder(
        "--with-folder/--no-folder",
        help="Keep the folder's files and the log equal, both ways; without, everything is in the log alone, and "
        "kernels start in a scratch folder beside it.  [default: --with-folder]",
    ),
    folder(
        "--max-versioned-size",
        type=click.IntRange(min=0),
        show_default=True,
        help="Files above this many bytes are served from the folder, without versions.",
    ),
    folder(
        "--verify-folder",
        is_flag=True,
        help="At the start, read every file in the folder, also those whose date and size have not changed.",
    ),
    folder(
        "--poll",
        is_flag=True,
        help="Look for changes in the folder every few seconds: for network disks, where the system does not tell.",
    ),
    place("--host", "--ip", show_default=True, help="The address to listen on."),
    place(
        "--port",
        default=None,
        type=click.IntRange(0, 65535),
        help=f"The port to listen on; 0 is any.  [default: {PORT}, or the first free one after it]",
    ),
    place(
        "--base-url",
        type=BaseUrl(),
        show_default=True,
        help="Where the server stands below its host, e.g. /me/.",
    ),
    place("--browser/--no-browser", help="Open the browser.  [default: yes]"),
    access(
        "--token", default=None, help="The secret in the address.  [default: a new one; '' lets everybody in]"
    ),
    access(
        "--password",
        help="A password to log in with, or its hash as `jupyter server password` makes it. Better given by the "
        "variable: other users of this machine can read command lines.",
    ),
    access("--allow-origin", help="The origin of other pages that may use this server, or '*'."),
    access(
        "--allow-remote-access",
        is_flag=True,
        help="Answer under any host name. Without it only names of this machine count, which keeps out DNS rebinding.",
    ),
    access(
        "--trust-proxy",
        is_flag=True,
        help="Believe a proxy in front about host, scheme and address (X-Forwarded-*).",
    ),
    access(
        "--metrics-without-auth",
        is_flag=True,
        help="Let everybody read /metrics. Without it Prometheus needs the token (as bearer token).",
    ),
    front_end(
        "--app",
        type=click.Choice(list(APPS)),
        show_default=True,
        help="The front end that the start page opens. The other one is there as well, at /lab or /tree.",
    ),
    front_end(
        "--allow-extension-install",
        is_flag=True,
        help="Let JupyterLab's extension manager search PyPI, and install and uninstall with pip.",
    ),
    front_end(
        "--legacy-notebooks",
        type=click.Choice(["native", "redirect", "redirect308"]),
        show_default=True,
        help="/api/notebooks: as in IPython 2, or a redirect to /api/contents, by 302 as in Jupyter Server or by 308, "
        "which keeps method and body.",
    ),
    kernel(
        "--default-kernel",
        show_default=True,
        help="The kernel for notebooks that name none.",
    ),
    kernel(
        "--kernel-transport",
        type=click.Choice(["ipc", "tcp"]),
        show_default=True,
        help="How kernels are reached; by tcp, other users of this machine can try to.",
    ),
    kernel(
        "--kernel-env",
        metavar="NAME",
        multiple=True,
        help="A variable that clients may set for a kernel they start, besides those named KERNEL_*. May be repeated.",
    ),
    kernel(
        "--max-kernels",
        type=click.IntRange(min=0),
        show_default=True,
        help="How many kernels may run; 0 is any number.",
    ),
    kept(
        "--kept-output-memory",
        type=click.IntRange(min=0),
        show_default=True,
        help="What a kernel prints while nobody is connected is kept: so many bytes of it in memory, the rest on disk.",
    ),
    kept(
        "--kept-output-disk",
        type=click.IntRange(min=0),
        show_default=True,
        help="The room for that on disk, in bytes, for each page and each kernel; after it, output is dropped and the "
        "cell says so.",
    ),
    kept(
        "--kept-output-total",
        type=click.IntRange(min=0),
        show_default=True,
        help="The room on disk for all pages and kernels together.",
    ),
    kept(
        "--max-cell-output",
        type=click.IntRange(min=0),
        show_default=True,
        help="How many bytes of text evstore writes into a cell whose page has been closed.",
    ),
    idle(
        "--cull-idle-timeout",
        type=click.FloatRange(min=0),
        show_default=True,
        help="Seconds without activity after which a kernel that nobody is connected to is shut down; 0 is never. "
        "A kernelspec may say otherwise for its kernels: metadata.cull_idle_timeout.",
    ),
    idle(
        "--cull-interval",
        type=click.FloatRange(min=0, min_open=True),
        show_default=True,
        help="Seconds between looks for idle kernels.",
    ),
    idle(
        "--cull-busy",
        is_flag=True,
        help="Shut down kernels without activity also while they execute something.",
    ),
    idle(
        "--cull-connected",
        is_flag=True,
        help="Shut down idle kernels also while somebody is connected to them.",
    ),
    idle(
        "--untracked-message-types",
        metavar="TYPE",
        multiple=True,
        help="A type of kernel messages that is no activity. Repeat it for each.  [default: as in Jupyter]",
    ),
    idle(
        "--shutdown-no-activity-timeout",
        type=click.FloatRange(min=0),
        show_default=True,
        help="Seconds without a kernel, a terminal and a request after which the server stops; 0 is never.",
    ),
    *GATEWAY,
    terminal("--terminals/--no-terminals", help="Let clients open terminals.  [default: yes]"),
    terminal(
        "--terminal-shell",
        type=CommandLine(),
        help="What runs in a terminal.  [default: your shell]",
    ),
    terminal(
        "--terminal-cull-idle-timeout",
        type=click.FloatRange(min=0),
        show_default=True,
        help="Seconds without input and output after which a terminal is ended; 0 is never.",
    ),
    terminal(
        "--terminal-cull-interval",
        type=click.FloatRange(min=0, min_open=True),
        show_default=True,
        help="Seconds between two looks for such terminals.",
    ),
    limit(
        "--max-body-size",
        type=click.IntRange(min=1),
        show_default=True,
        help="The largest request and file, in bytes.",
    ),
    limit(
        "--convert-timeout",
        type=click.FloatRange(min=0, min_open=True),
        show_default=True,
        help="How long it may take to convert a notebook to another format, in seconds.",
    ),
    option("--verbose", "-v", count=True, help="Say more on stderr; twice: every request."),
)


def serve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all flags of `evstore serve`."""
    for one in reversed(OPTIONS):
        command = one(command)
    return command
