"""Where kernels run: the nearest existing folder, and never outside the served one."""

from __future__ import annotations

from pathlib import Path

import pytest

from evstore.kernels.place import Place
from evstore.paths import ContentPath


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
    assert Place(root, ContentPath(path), False).folder() == (root / folder).resolve()


def test_session_name(root: Path) -> None:
    assert Place(root, ContentPath("sub/nb.ipynb"), True).session_name() == str(root / "sub" / "nb.ipynb")
    assert Place(root, ContentPath("sub/nb.ipynb"), False).session_name() is None
    assert Place(root, None, True).session_name() is None


def test_without_a_path_it_is_where_the_server_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = root.with_name("elsewhere")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert Place(root, None, False).folder() == elsewhere
    elsewhere.rmdir()
    assert Place(root, None, False).folder() == root


def test_environment(root: Path) -> None:
    wanted = {"KERNEL_USERNAME": "ann", "JPY_SESSION_NAME": "what a client says"}
    assert Place(root, ContentPath("nb.ipynb"), False, wanted).environment() == wanted
    told = wanted | {"JPY_SESSION_NAME": str(root / "nb.ipynb")}
    assert Place(root, ContentPath("nb.ipynb"), True, wanted).environment() == told
