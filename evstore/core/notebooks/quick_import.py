"""Import what needs jsonschema (nbformat, nbdime, jupyter_events) without the second that it does not need.

jsonschema looks for rfc3987_syntax to check the format of IRIs with. Where that is installed
(jupyter_server's extras bring it) it builds its grammar at import, for 1.4 s in each process: every
start of the server, every command. No schema of Jupyter's has that format.
"""

from __future__ import annotations

import sys
from importlib import import_module
from threading import Lock
from typing import Any

_GRAMMAR = "rfc3987_syntax"
_turn = Lock()


def import_quickly(name: str) -> Any:
    """The module of this name. Meanwhile rfc3987_syntax can't be imported, which jsonschema takes for its not being there."""
    with _turn:
        if _GRAMMAR in sys.modules:
            return import_module(name)
        sys.modules[_GRAMMAR] = None  # pyright: ignore[reportArgumentType] - documented: an import then fails
        try:
            return import_module(name)
        finally:
            del sys.modules[_GRAMMAR]
