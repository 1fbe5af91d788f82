"""Language packs. JupyterLab asks for one on each start and takes any answer but an error."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

import logging
from typing import Any

from jupyterlab_server.translation_utils import (
    SYS_LOCALE,
    get_language_pack,
    get_language_packs,
    is_valid_locale,
)

from evstore.lab.settings import Settings

logger = logging.getLogger(__name__)


class Translations:
    """`{"data": ..., "message": ...}`, whatever happens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def all(self) -> dict[str, Any]:
        """The languages that are installed, by locale."""
        data, message = get_language_packs(self._settings.locale())
        return {"data": data, "message": message}

    def one(self, locale: str) -> dict[str, Any]:
        """The texts of one language; none, and a message, when it is not installed."""
        locale = SYS_LOCALE if locale in ("", "default") else locale
        if not is_valid_locale(locale):
            return {"data": {}, "message": f"Language pack '{locale}' not valid!"}
        data, message = get_language_pack(locale)
        return {
            "data": data,
            "message": message or ("" if data else f"Language pack '{locale}' not installed!"),
        }
