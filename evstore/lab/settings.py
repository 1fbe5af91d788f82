"""User settings: schemas that ship with the packages, and what the user changed, kept word for word.

JupyterLab asks for all of them whenever a page loads. The list is kept until one of the files
that it was made from changes.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from jsonschema import ValidationError
from jupyter_core.paths import jupyter_config_path
from jupyterlab_server.settings_utils import get_settings, save_settings
from jupyterlab_server.translation_utils import (
    DEFAULT_LOCALE,
    L10N_SCHEMA_NAME,
    PSEUDO_LANGUAGE,
    SYS_LOCALE,
    is_valid_locale,
    translator,
)
from tornado.web import HTTPError

from evstore.core.errors import Invalid, NotFound
from evstore.lab.folders import Folders, written_whole

logger = logging.getLogger(__name__)
Setting = dict[str, Any]
Stamp = tuple[tuple[str, int, int], ...]
_ID = re.compile(r"(?:@[\w.-]+/)?[\w.-]+:[\w.-]+")
_NOWHERE = Path("/nonexistent/evstore")


class Settings:
    """JupyterLab's settings, by plugin id such as `@jupyterlab/apputils-extension:themes`."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._turn = threading.Lock()  # the translator of jupyterlab_server is one for the whole process
        self._list: tuple[Stamp, bytes] | None = None

    def all(self) -> bytes:
        """The JSON of `{"settings": [...]}`: every plugin's schema and the user's settings for it."""
        with self._turn:
            stamp = self._stamp()
            if self._list is None or self._list[0] != stamp:
                self._use_locale()
                self._list = stamp, json.dumps(self._read_all()).encode()
            return self._list[1]

    def ids(self) -> dict[str, Any]:
        """`{"settings": [{"id": ...}]}`."""
        with self._turn:
            return self._get(ids_only=True)

    def one(self, name: str) -> Setting:
        """One plugin's. Raises NotFound. What the user broke outside of JupyterLab counts as unset."""
        with self._turn:
            self._use_locale()
            return self._read(name)

    def save(self, name: str, raw: str) -> None:
        """Keep `raw`, JSON5 with its comments, if it fits the schema. Raises Invalid and NotFound."""
        _check_id(name)
        folders = self._folders
        try:
            with self._turn, written_whole(folders.user_settings) as target:
                save_settings(str(folders.schemas), str(target), name, raw, {}, folders.labextensions_path)
        except HTTPError as error:
            if error.status_code != 404:
                raise
            raise NotFound(f"There are no settings for {name!r}.") from None
        except ValidationError as error:
            raise Invalid(f"Failed validating input: {error.message}") from None
        except ValueError as error:
            raise Invalid(f"Failed parsing the settings: {error}") from None
        except RecursionError:
            raise Invalid("Failed parsing the settings: too many brackets within each other.") from None

    def locale(self) -> str:
        """The language that the user chose, or the system's."""
        with self._turn:
            return self._locale()

    def _locale(self) -> str:
        chosen = self._read(L10N_SCHEMA_NAME)["settings"].get("locale")
        locale = str(chosen) if chosen and chosen != "default" else SYS_LOCALE
        return locale if is_valid_locale(locale) or locale == PSEUDO_LANGUAGE else DEFAULT_LOCALE

    def _use_locale(self) -> None:
        translator.set_locale(self._locale())

    def _read_all(self) -> dict[str, Any]:
        try:
            return self._get()
        except HTTPError:  # one file is broken: find out which, and serve the others
            names = [entry["id"] for entry in self._get(ids_only=True)["settings"]]
            return {"settings": [self._read(name) for name in names]}

    def _read(self, name: str) -> Setting:
        _check_id(name)
        try:
            return self._get(schema_name=name)
        except HTTPError as error:
            if error.status_code == 404:
                raise NotFound(f"There are no settings for {name!r}.") from None
            logger.warning("Settings left out: %s", error.log_message)
            return self._get(schema_name=name, settings_dir=str(_NOWHERE))

    def _get(self, **options: Any) -> dict[str, Any]:
        folders = self._folders
        arguments: dict[str, Any] = {
            "app_settings_dir": str(folders.app_settings),
            "schemas_dir": str(folders.schemas),
            "settings_dir": str(folders.user_settings),
            "labextensions_path": folders.labextensions_path,
            "translator": translator.translate_schema,
        }
        result, warnings = get_settings(**(arguments | options))
        for warning in filter(None, cast(list[str | None], warnings)):
            logger.warning("Settings: %s", warning)
        return result

    def _stamp(self) -> Stamp:
        """Changes whenever a file changes that the list is made from."""
        folders = self._folders
        roots = [folders.schemas, folders.app_settings, folders.user_settings]
        roots += [Path(path) / "labconfig" for path in jupyter_config_path()]
        roots += [path for root in folders.extensions for path in root.glob("**/schemas")]
        return tuple(stat for root in roots for stat in _stats(root))


def _stats(root: Path) -> Iterator[tuple[str, int, int]]:
    for path in sorted(root.rglob("*.j*")):  # .json, .json5, .jupyterlab-settings
        stat = path.stat()
        yield str(path), stat.st_mtime_ns, stat.st_size


def _check_id(name: str) -> None:
    """An id becomes a path: only names are let through, never a way out of the folder."""
    if not _ID.fullmatch(name) or ".." in name:
        raise NotFound(f"There are no settings for {name!r}.")
