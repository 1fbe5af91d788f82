"""Run jupyter_server's own tests against evstore: `python tests/jupyter_server/run.py [PYTEST ARGUMENTS]`.

Paths among the arguments are below the folder that jupyter_server's tests are unpacked in, e.g.
`tests/services/contents/test_api.py::test_copy`. Without arguments: all of them.
"""

from __future__ import annotations

import importlib
import os
import sys

import pytest
import source


def main(arguments: list[str]) -> int:
    """Two packages are called `tests`: theirs, and behind it ours, from which the plugin comes."""
    folder = source.JUPYTER_SERVER.fetch()
    os.chdir(folder)
    sys.path[0] = str(folder)
    theirs = importlib.import_module("tests")
    theirs.__path__.append(str(source.HERE.parent))
    plugin = importlib.import_module("tests.jupyter_server.plugin")
    # Their conftest.py asks for pytest-jupyter and its server, in whose place the plugin stands.
    options = ["--noconftest", f"--config-file={source.HERE / 'theirs.ini'}", f"--rootdir={folder}"]
    options.append(f"--confcutdir={folder}")  # the cache may be a link to another checkout's
    return pytest.main([*options, *(arguments or ["tests"])], plugins=[plugin])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
