"""The servers of tests/http, for tests of a folder that is served."""

from __future__ import annotations

from tests.http.conftest import server, start_server

__all__ = ["server", "start_server"]
