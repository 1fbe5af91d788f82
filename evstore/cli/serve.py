"""`evstore serve`: what it does, and what it tells the person who started it. Its flags are in `flags.py`."""

from __future__ import annotations

import asyncio
import html
import logging
import os
import socket
import sys
import webbrowser
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import click

from evstore.auth import check_password, hash_password, random_token
from evstore.cli.flags import PORT, serve_options
from evstore.cli.gateway import take_gateway
from evstore.cli.options import SectionedCommand, database_of, existing_folder, make_directory
from evstore.cli.output import describe_import, progress
from evstore.cli.running import RunningServer, announced, private_file, write_private
from evstore.cli.server import run
from evstore.config import Config
from evstore.errors import Locked, Unavailable
from evstore.http.services import Services
from evstore.lab import is_installed
from evstore.lab.apps import APPS, LAB
from evstore.store import Store
from evstore.transfer.importing import import_once

PORT_RETRIES = 50  # as Jupyter, when nobody asked for a certain port
WILDCARDS = ("", "0.0.0.0", "::")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@click.command(cls=SectionedCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=".", envvar="EVSTORE_FOLDER")
@serve_options
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
