"""Where kernels run: the nearest existing folder, and never outside the served one."""

from __future__ import annotations

from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.processes.kernels.launch_context import LaunchContext


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "served"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "sub" / "file.txt").touch()
    (root / "sub" / "nb.ipynb").touch()
    (tmp_path / "served-evil").mkdir()
    (root / "out").symlink_to(tmp_path / "served-evil")
    (root / "in").symlink_to(root / "sub")
    (root / "loop").symlink_to(root / "loop")
    return root


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("", ""),
        ("nb.ipynb", ""),
        ("sub/nb.ipynb", "sub"),
        ("sub/deep", "sub/deep"),
        ("sub/gone/nb.ipynb", "sub"),
        ("gone/sub/nb.ipynb", ""),
        ("sub/file.txt/nb.ipynb", "sub"),
        ("out/nb.ipynb", ""),
        ("out", ""),
        ("in/nb.ipynb", "sub"),
        ("loop/nb.ipynb", ""),
        ("x" * 300 + "/nb.ipynb", ""),
        ("console-1-5f0c", ""),
    ],
)
def test_folder(root: Path, path: str, folder: str) -> None:
    assert LaunchContext(root, ContentPath(path), None).folder() == (root / folder).resolve()


@pytest.mark.parametrize(
    ("path", "session", "told"),
    [
        ("sub/nb.ipynb", "", "sub/nb.ipynb"),
        ("sub/nb.ipynb", "nb.ipynb", "sub/nb.ipynb"),
        ("sub/5f0c-made-up", "nb.ipynb", "sub/nb.ipynb"),  # as JupyterLab opens sessions
        ("console-1-5f0c", "Console 1", "Console 1"),
    ],
)
def test_session_name(root: Path, path: str, session: str, told: str) -> None:
    assert LaunchContext(root, ContentPath(path), session).session_name() == str(root / told)


def test_no_session_name(root: Path) -> None:
    assert LaunchContext(root, ContentPath("sub/nb.ipynb"), None).session_name() is None
    assert LaunchContext(root, None, "nb.ipynb").session_name() is None


def test_without_a_path_it_is_where_the_server_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = root.with_name("elsewhere")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert LaunchContext(root, None, None).folder() == elsewhere
    elsewhere.rmdir()
    assert LaunchContext(root, None, None).folder() == root


def test_environment(root: Path) -> None:
    wanted = {"KERNEL_USERNAME": "ann", "JPY_SESSION_NAME": "what a client says"}
    assert LaunchContext(root, ContentPath("nb.ipynb"), None, wanted).environment() == wanted
    told = wanted | {"JPY_SESSION_NAME": str(root / "nb.ipynb")}
    assert LaunchContext(root, ContentPath("nb.ipynb"), "", wanted).environment() == told
