"""`evstore serve --app`: which front end the address on the screen and the start page lead to."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.process.commands import TOKEN, evstore, serving


@pytest.fixture
def without_notebook(tmp_path: Path) -> str:
    """A folder for PYTHONPATH that hides the package `notebook`."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['notebook'] = None\n")
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


@pytest.mark.parametrize(("flags", "page"), [((), "lab"), (("--app", "notebook"), "tree")])
def test_the_start_page(tmp_path: Path, flags: tuple[str, ...], page: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with serving(folder, *flags) as server:
        with urlopen(Request(server.url, headers={"Authorization": f"token {TOKEN}"})) as reply:
            assert reply.url == server.url + page
        code, out, err = server.stop()
    assert (code, err) == (0, "")
    assert f"{server.url}{page}?token={TOKEN}" in out


def test_a_front_end_that_is_not_installed(tmp_path: Path, without_notebook: str) -> None:
    refused = evstore("serve", tmp_path, "--app=notebook", cwd=tmp_path, PYTHONPATH=without_notebook)
    assert refused.returncode == 1
    assert "pip install notebook" in refused.stderr
    assert "Traceback" not in refused.stderr
    with serving(tmp_path, PYTHONPATH=without_notebook) as server:
        assert server.ask("GET", "api")["version"]


def test_a_front_end_of_another_name(tmp_path: Path) -> None:
    refused = evstore("serve", tmp_path, "--app=nbclassic", cwd=tmp_path)
    assert refused.returncode == 2
    assert "'lab', 'notebook'" in refused.stderr
