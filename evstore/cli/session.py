"""`evstore serve` at work: what happens until it is stopped, and what the person who started it sees."""

from __future__ import annotations

import asyncio
import html
import os
import socket
import sys
import webbrowser
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import click

from evstore.cli.composition import run
from evstore.cli.output import describe_import, progress
from evstore.cli.server_file import RunningServer, announced, locked_folder, private_file
from evstore.config import Config
from evstore.core.errors import Locked
from evstore.http.services import Services
from evstore.lab.apps import APPS
from evstore.store.store import Store
from evstore.transfer.folder_import import import_once

WILDCARDS = ("", "0.0.0.0", "::")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def serve_until_stopped(config: Config) -> None:
    """Serve until a signal ends that. Raises Locked when another evstore is at it, and says where."""
    with ExitStack() as stack:
        if config.with_folder:
            stack.enter_context(locked_folder(config.folder, config.db))
        try:
            asyncio.run(run(config, lambda: open_store(config), greeted))
        except Locked as locked:
            server = RunningServer.behind(locked, config.db)
            raise Locked(f"An evstore uses {config.db} already, and serves it at {server.page}") from None


async def open_store(config: Config) -> Store:
    """The store; when it is new, with the folder's files in it."""
    with progress("Reading the log") as advance:
        store = await Store.open(config.db, lambda offset: advance(offset, offset))
    if not config.with_folder:
        return store
    if config.verify_folder:
        click.echo(f"Reading every file in {config.folder}.")
    try:
        with progress(f"Taking in {config.folder}") as advance:
            report = await import_once(
                store, config.folder, config.db, max_size=config.max_versioned_size, progress=advance
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
    served = config.folder if config.with_folder else f"{config.db} alone"
    click.echo(f"evstore {version('evstore')} serves {served}; every version is kept in {config.db}\n")
    if config.host in WILDCARDS:
        click.echo(f"    {address(socket.gethostname(), port, config.base_url)}{page}")
    click.echo(f"    {base}{page}\n")
    if not services.auth.enabled:
        click.echo("There is neither token nor password: everybody who reaches this address is let in.")
    if config.gateway is not None:
        click.echo(f"Kernels run at the gateway {config.gateway.url}, on its own files.")
    if not config.with_folder:
        click.echo(f"There is no working folder: kernels and terminals start in {config.folder}.")
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
