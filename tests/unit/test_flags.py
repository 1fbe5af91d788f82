"""The flags of `evstore serve` and the settings of a server are the same things."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

from evstore.cli.serve import make_config, serve
from evstore.config import Config

MADE = {
    "folder",
    "db",
    "port",
    "port_retries",
    "token",
    "password_hash",
    "gateway",
}  # flags say more, or less, than these
NO_FLAG = {"settings_dir"}  # for tests: else it is where Jupyter has it


def test_without_flags_a_server_is_as_its_settings_say() -> None:
    flags = serve.make_context("serve", []).params
    del flags["verbose"]
    config = make_config(**flags | {"folder": Path("/f"), "db": Path("/f/log.db")})
    assert config == Config(
        folder=Path("/f"), db=Path("/f/log.db"), token=config.token, port_retries=config.port_retries
    )
    assert config.token


def test_each_setting_is_a_flag() -> None:
    settings = {field.name for field in fields(Config) if field.default is not MISSING}
    flags = {param.name for param in serve.params}
    assert settings - flags == (MADE - {"folder", "db", "port", "token"}) | NO_FLAG
