"""`evstore serve`: from its flags, which are in `flags.py`, to the settings of a server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from evstore.cli.flags import PORT, serve_options
from evstore.cli.gateway import take_gateway
from evstore.cli.options import SectionedCommand, database_of, existing_folder, make_directory
from evstore.cli.server_file import write_private
from evstore.config import Config
from evstore.core.errors import Unavailable
from evstore.lab import is_installed
from evstore.lab.apps import APPS, LAB
from evstore.services.auth import check_password, hash_password, random_token
from evstore.worktree.disk.filesystem import check_local

PORT_RETRIES = 50  # as Jupyter, when nobody asked for a certain port


@click.command(cls=SectionedCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=".", envvar="EVSTORE_FOLDER")
@serve_options
def serve(folder: Path, db: Path | None, verbose: int, **flags: Any) -> None:
    """Serve FOLDER (the current one if none is given) with JupyterLab and Notebook, or to any other Jupyter client.

    What is saved goes to the files in FOLDER and, with every version before it, into a log in FOLDER/.evstore. What
    kernels, editors and git do to the files is in the log as well, a moment later. `evstore log` shows what
    was, `evstore restore` brings it back.
    """
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(
        level=levels[min(verbose, 2)], format="%(levelname).1s %(asctime)s %(name)s: %(message)s"
    )
    folder = existing_folder(folder)
    db = database_of(folder, db)
    if not flags["allow_network_db"]:
        check_local(db)
    make_directory(db)
    config = make_config(folder, db, **flags)
    if (app := APPS[config.app]) is not LAB and not is_installed(app):
        raise Unavailable(
            f"--app {app.name}: {app.title} is not installed here; this installs it: {app.install}"
        )
    # Not above, for it takes half a second, which --help need not.
    from evstore.cli.session import serve_until_stopped

    serve_until_stopped(config)


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
    if not flags["with_folder"]:
        folder = db.with_name(f"{db.name}.scratch")
        folder.mkdir(mode=0o700, exist_ok=True)
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
