"""`evstore serve`: the flags of the server, and what it tells the person who started it."""

from __future__ import annotations

import asyncio
import html
import logging
import os
import re
import shlex
import socket
import sys
import webbrowser
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

import click

from evstore.auth import check_password, hash_password, random_token
from evstore.cli.gateway import gateway_options, take_gateway
from evstore.cli.options import database_of, db_option, existing_folder, make_directory, option
from evstore.cli.output import describe_import, progress
from evstore.cli.running import RunningServer, announced, private_file, write_private
from evstore.cli.server import run
from evstore.config import MIB, Config
from evstore.errors import Locked, Unavailable
from evstore.http.services import Services
from evstore.kernels.culling import INTERVAL
from evstore.lab import is_installed
from evstore.lab.apps import APPS, LAB
from evstore.store import Store
from evstore.transfer.importing import import_once

PORT = 8888
PORT_RETRIES = 50  # as Jupyter, when nobody asked for a certain port
WILDCARDS = ("", "0.0.0.0", "::")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


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
        try:
            return tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".", envvar="EVSTORE_FOLDER")
@option("--host", "--ip", default="127.0.0.1", show_default=True, help="The address to listen on.")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The port to listen on; 0 is any.  [default: {PORT}, or the first free one after it]",
)
@option("--token", help="The secret in the address.  [default: a new one; '' lets everybody in]")
@option(
    "--password",
    help="A password to log in with, or its hash as `jupyter server password` makes it. Better given by the "
    "variable: other users of this machine can read command lines.",
)
@option(
    "--base-url",
    type=BaseUrl(),
    default="/",
    show_default=True,
    help="Where the server stands below its host, e.g. /me/.",
)
@db_option
@option(
    "--app",
    type=click.Choice(list(APPS)),
    default=LAB.name,
    show_default=True,
    help="The front end that the start page opens. The other one is there as well, at /lab or /tree.",
)
@option(
    "--allow-extension-install",
    is_flag=True,
    help="Let JupyterLab's extension manager search PyPI, and install and uninstall with pip.",
)
@option("--browser/--no-browser", default=True, help="Open the browser.  [default: yes]")
@option("--allow-origin", default="", help="The origin of other pages that may use this server, or '*'.")
@option(
    "--allow-remote-access",
    is_flag=True,
    help="Answer under any host name. Without it only names of this machine count, which keeps out DNS rebinding.",
)
@option(
    "--trust-proxy",
    is_flag=True,
    help="Believe a proxy in front about host, scheme and address (X-Forwarded-*).",
)
@option(
    "--metrics-without-auth",
    is_flag=True,
    help="Let everybody read /metrics. Without it Prometheus needs the token (as bearer token).",
)
@option(
    "--kernel-transport",
    type=click.Choice(["ipc", "tcp"]),
    default="ipc",
    show_default=True,
    help="How kernels are reached; by tcp, other users of this machine can try to.",
)
@option(
    "--kept-output-memory",
    type=click.IntRange(min=0),
    default=8 * MIB,
    show_default=True,
    help="What a kernel prints while nobody is connected is kept: so many bytes of it in memory, the rest on disk.",
)
@option(
    "--kept-output-disk",
    type=click.IntRange(min=0),
    default=1024 * MIB,
    show_default=True,
    help="The room for that on disk, in bytes; after it, output is dropped and the cell says so.",
)
@option(
    "--max-cell-output",
    type=click.IntRange(min=0),
    default=64 * MIB,
    show_default=True,
    help="How many bytes of text evstore writes into a cell whose page has been closed.",
)
@option(
    "--default-kernel", default="python3", show_default=True, help="The kernel for notebooks that name none."
)
@gateway_options
@option(
    "--max-kernels",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many kernels may run; 0 is any number.",
)
@option(
    "--kernel-env",
    metavar="NAME",
    multiple=True,
    help="A variable that clients may set for a kernel they start, besides those named KERNEL_*. May be repeated.",
)
@option(
    "--cull-idle-timeout",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Seconds without activity after which a kernel that nobody is connected to is shut down; 0 is never. "
    "A kernelspec may say otherwise for its kernels: metadata.cull_idle_timeout.",
)
@option(
    "--cull-interval",
    type=click.FloatRange(min=0, min_open=True),
    default=INTERVAL,
    show_default=True,
    help="Seconds between looks for idle kernels.",
)
@option(
    "--cull-busy", is_flag=True, help="Shut down kernels without activity also while they execute something."
)
@option(
    "--cull-connected", is_flag=True, help="Shut down idle kernels also while somebody is connected to them."
)
@option(
    "--untracked-message-types",
    metavar="TYPE",
    multiple=True,
    help="A type of kernel messages that is no activity. Repeat it for each.  [default: as in Jupyter]",
)
@option(
    "--shutdown-no-activity-timeout",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Seconds without a kernel, a terminal and a request after which the server stops; 0 is never.",
)
@option("--terminals/--no-terminals", default=True, help="Let clients open terminals.  [default: yes]")
@option(
    "--terminal-shell", type=CommandLine(), default="", help="What runs in a terminal.  [default: your shell]"
)
@option(
    "--terminal-cull-idle-timeout",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Seconds without input and output after which a terminal is ended; 0 is never.",
)
@option(
    "--terminal-cull-interval",
    type=click.FloatRange(min=0, min_open=True),
    default=INTERVAL,
    show_default=True,
    help="Seconds between two looks for such terminals.",
)
@option(
    "--max-body-size",
    type=click.IntRange(min=1),
    default=512 * MIB,
    show_default=True,
    help="The largest request and file, in bytes.",
)
@option(
    "--legacy-notebooks",
    type=click.Choice(["native", "redirect", "redirect308"]),
    default="native",
    show_default=True,
    help="/api/notebooks: as in IPython 2, or a redirect to /api/contents, by 302 as in Jupyter Server or by 308, "
    "which keeps method and body.",
)
@option(
    "--convert-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long it may take to convert a notebook to another format, in seconds.",
)
@option("--verbose", "-v", count=True, help="Say more on stderr; twice: every request.")
def serve(folder: Path, db: Path | None, verbose: int, **flags: Any) -> None:
    """Serve FOLDER (the current one if none is given) with JupyterLab and Notebook, or to any other Jupyter client.

    The first time, evstore takes in the folder's files. From then on it works on its own log, in
    FOLDER/.evstore: what is saved goes there and not into the files that lie in FOLDER, and what changes
    there by other hands is not seen. `evstore export` writes the present state, or that of any
    moment, to disk.
    """
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(
        level=levels[min(verbose, 2)], format="%(levelname).1s %(asctime)s %(name)s: %(message)s"
    )
    folder = existing_folder(folder)
    db = database_of(folder, db)
    make_directory(db)
    config = make_config(folder, db, **flags)
    if (app := APPS[config.app]) is not LAB and not is_installed(app):
        raise Unavailable(
            f"--app {app.name}: {app.title} is not installed here; this installs it: {app.install}"
        )
    try:
        asyncio.run(run(config, lambda: open_store(config), greeted))
    except Locked as locked:
        server = RunningServer.behind(locked, config.db)
        raise Locked(f"An evstore uses {config.db} already, and serves it at {server.url}") from None


def make_config(
    folder: Path,
    db: Path,
    *,
    port: int | None,
    token: str | None,
    password: str | None,
    **flags: Any,
) -> Config:
    """The settings that the flags mean."""
    return Config(
        folder=folder,
        db=db,
        port=PORT if port is None else port,
        port_retries=PORT_RETRIES if port is None else 0,
        token=random_token() if token is None else token,
        password_hash=password_hash(password or "", db.with_name("password_hash")),
        gateway=take_gateway(flags),
        **flags,
    )


def password_hash(password: str, remembered: Path) -> str:
    """The hash of the password, which cookies depend on: kept in a file, so that logins outlive a restart.

    A hash that is given in the place of a password is taken as it is.
    """
    if not password or password.startswith("argon2:"):
        return password
    if remembered.is_file() and check_password(found := remembered.read_text(), password):
        return found
    made = hash_password(password)
    write_private(remembered, made.encode())
    return made


async def open_store(config: Config) -> Store:
    """The store; when it is new, with the folder's files in it."""
    with progress("Reading the log") as advance:
        store = await Store.open(config.db, lambda offset: advance(offset, offset))
    try:
        with progress(f"Taking in {config.folder}") as advance:
            report = await import_once(
                store, config.folder, config.db, max_size=config.max_body_size, progress=advance
            )
    except BaseException:
        await store.close()
        raise
    if report is not None:
        for line in describe_import(report):
            click.echo(line)
    return store


@contextmanager
def greeted(services: Services, port: int) -> Generator[None]:
    """While requests are answered: the address is on the screen, and where other commands find it."""
    config = services.config
    local = "127.0.0.1" if config.host in WILDCARDS else config.host
    base = address(local, port, config.base_url)
    token = quote(config.token, safe="")
    app = APPS[config.app]
    page = (app.start if services.lab.has(app) else "") + (f"?token={token}" if token else "")
    click.echo(f"evstore {version('evstore')} serves {config.folder}; every version is kept in {config.db}\n")
    if config.host in WILDCARDS:
        click.echo(f"    {address(socket.gethostname(), port, config.base_url)}{page}")
    click.echo(f"    {base}{page}\n")
    if not services.auth.enabled:
        click.echo("There is neither token nor password: everybody who reaches this address is let in.")
    if config.gateway is not None:
        click.echo(f"Kernels run at the gateway {config.gateway.url}, on its own files.")
    click.echo("Ctrl-C stops it.")
    with ExitStack() as stack:
        stack.enter_context(announced(config.db, RunningServer(base, config.token, os.getpid())))
        if config.browser and can_show_browser():
            stack.enter_context(browser_on(base + page, config.db))
        yield
    click.echo("Stopping; once more forces it.")


def address(host: str, port: int, base_url: str) -> str:
    """The server's URL, which ends with a slash."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{base_url}"


def can_show_browser() -> bool:
    """Whether there is a screen for one: without it, Python would start a text browser in this terminal."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in SCREENS)


@contextmanager
def browser_on(url: str, db: Path) -> Generator[None]:
    """Open a browser by way of a file that leads to `url`: other users could read the token off a command line."""
    text = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={html.escape(url)}">'
    with private_file(db.with_name(f"{db.name}.open.html"), text.encode()) as file:
        Thread(target=webbrowser.open, args=(file.as_uri(),), daemon=True).start()
        yield
