"""Import nbformat without the second that it does not need.

nbformat imports jsonschema, and jsonschema looks for rfc3987_syntax to check the format of IRIs
with. Where that is installed (jupyter_server's extras bring it) it builds its grammar at import,
for 1.4 s in each process: every start of the server, every command. No schema of nbformat's has a format.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

_GRAMMAR = "rfc3987_syntax"


@contextmanager
def without_iri_grammar() -> Generator[None]:
    """Meanwhile rfc3987_syntax can't be imported, which jsonschema takes for its not being there."""
    if _GRAMMAR in sys.modules:
        yield
        return
    sys.modules[_GRAMMAR] = None  # pyright: ignore[reportArgumentType] - documented: an import then fails
    try:
        yield
    finally:
        del sys.modules[_GRAMMAR]
