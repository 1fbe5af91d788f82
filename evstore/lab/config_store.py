"""`/api/config`: what extensions keep for themselves, a JSON object a section, where Jupyter keeps it.

A section is `<name>.json`, over the files in `<name>.d/`, in the user's folder, over the same in the folders that
packages install into (jupyter_server/config_manager.py).
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, cast

import orjson
from jupyter_core.paths import jupyter_config_dir, jupyter_config_path

from evstore.config import Config
from evstore.core.errors import Invalid
from evstore.lab.folders import written_whole

logger = logging.getLogger(__name__)

Section = dict[str, Any]
MAX_NAME = 200  # bytes; it becomes a file's
MAX_DEPTH = 100  # objects within each other


class ConfigStore:
    """The sections in the user's folder, over the defaults that packages install beside them."""

    def __init__(self, folder: Path, defaults: list[Path]) -> None:
        self._folder = folder
        self._defaults = defaults  # what is first counts most
        self._turn = threading.Lock()

    @classmethod
    def of(cls, config: Config) -> ConfigStore:
        """Where Jupyter has them, unless the settings say otherwise."""
        own = config.settings_dir or Path(jupyter_config_dir())
        return cls(own / "serverconfig", [Path(path) / "serverconfig" for path in jupyter_config_path()])

    def get(self, name: str) -> Section:
        """The section, `{}` if nobody wrote it yet. A file that can't be read counts as missing."""
        section: Section = {}
        for folder in (*reversed(self._defaults), self._folder):
            merge(section, _read(folder, _checked(name)))
        return section

    def replace(self, name: str, section: Section) -> None:
        """Write the whole section. Raises Invalid when it is too deep."""
        _check_depth(section)
        with self._turn:
            self._write(name, section)

    def update(self, name: str, changes: Section) -> Section:
        """Merge `changes` into the user's section, and return that. Raises Invalid when they are too deep."""
        _check_depth(changes)
        with self._turn:
            section = _read(self._folder, _checked(name))
            merge(section, changes)
            _check_depth(section)
            self._write(name, section)
            return section

    def _write(self, name: str, section: Section) -> None:
        with written_whole(self._folder) as target:
            (target / f"{_checked(name)}.json").write_bytes(orjson.dumps(section, option=orjson.OPT_INDENT_2))


def merge(section: Section, changes: Section) -> None:
    """Change `section` by the rules of Jupyter: null deletes a key, and what is left empty disappears."""
    for key, value in changes.items():
        if isinstance(value, dict):
            old = section.get(key)
            inner = cast(Section, old) if isinstance(old, dict) else {}
            merge(inner, cast(Section, value))
            value = inner or None
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value


def _read(folder: Path, name: str) -> Section:
    section: Section = {}
    for file in (*sorted(folder.glob(f"{name}.d/*.json")), folder / f"{name}.json"):
        try:
            found: object = orjson.loads(file.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            logger.warning("%s is left out, for it can't be read: %s", file, error)
            continue
        if isinstance(found, dict):
            merge(section, cast(Section, found))
        else:
            logger.warning("%s is left out, for it is no object", file)
    return section


def _checked(name: str) -> str:
    if len(name.encode()) > MAX_NAME:
        raise Invalid(f"The name of a section may have {MAX_NAME} bytes.")
    return name


def _check_depth(section: Section) -> None:
    level: list[object] = [section]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise Invalid(f"A section may have {MAX_DEPTH} objects and lists within each other.")


def _inside(value: object) -> list[object]:
    values = cast(Section, value).values() if isinstance(value, dict) else cast(list[object], value)
    return [inner for inner in values if isinstance(inner, dict | list)]
