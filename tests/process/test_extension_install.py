"""JupyterLab's extension manager with pip behind it: a server in an environment of its own, and an index on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.process.commands import PATIENCE, Served, environment, log_of

NAME, VERSION = "evstore-test-extension", "1.2.3"
PACKAGE = {
    "name": NAME,
    "version": VERSION,
    "description": "Does nothing, but is there.",
    "jupyterlab": {
        "extension": True,
        "_build": {"load": "static/remoteEntry.js", "extension": "./extension"},
    },
}
INSTALL = {"packageManager": "python", "packageName": NAME, "uninstallInstructions": "pip"}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with the wheel of one extension."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = NAME.replace("-", "_") + f"-{VERSION}"
    data = f"{wheel}.data/data/share/jupyter/labextensions/{NAME}"
    files = {
        f"{data}/package.json": json.dumps(PACKAGE),
        f"{data}/install.json": json.dumps(INSTALL),
        f"{data}/static/remoteEntry.js": "// nothing",
        f"{wheel}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{wheel}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{wheel}.dist-info/RECORD"] = (
        "".join(f"{name},,\n" for name in files) + f"{wheel}.dist-info/RECORD,,\n"
    )
    with zipfile.ZipFile(folder / f"{wheel}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an environment of its own, which sees the packages of this one: what is installed goes there."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=PATIENCE)
    (site,) = environment.glob("lib/python*/site-packages")
    outer = sysconfig.get_path("purelib")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    return environment / "bin/python"


def serve(python: Path, folder: Path, index: Path) -> Served:
    folder.mkdir()
    outer = str(Path(sys.prefix, "share/jupyter"))  # where JupyterLab is
    process = subprocess.Popen(
        [
            python,
            "-m",
            "evstore",
            "serve",
            folder,
            "--no-browser",
            "--port=0",
            "--token=a-token",
            "--allow-extension-install",
        ],
        cwd=folder,
        env=environment(
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=str(index),
            PIP_CONFIG_FILE=os.devnull,
            JUPYTER_PATH=outer,
            JUPYTERLAB_DIR=f"{outer}/lab",
            HOME=str(folder.parent),
            ALL_PROXY="http://127.0.0.1:9",  # where nobody is: PyPI is not asked by a test
            HTTPS_PROXY="http://127.0.0.1:9",
            HTTP_PROXY="http://127.0.0.1:9",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Served(folder, log_of(folder), process)
    server.wait_until_up()
    return server


def names(server: Served) -> set[str]:
    found: list[dict[str, Any]] = server.ask("GET", "lab/api/extensions")
    return {each["name"] for each in found}


def change(server: Served, command: str, name: str) -> dict[str, Any]:
    return server.ask("POST", "lab/api/extensions", {"cmd": command, "extension_name": name})


def test_an_extension_is_installed_and_uninstalled(tmp_path: Path, python: Path, index: Path) -> None:
    server = serve(python, tmp_path / "work", index)
    try:
        assert NAME not in names(server)
        result = change(server, "install", NAME)
        assert (result["status"], result["needs_restart"]) == ("ok", ["frontend"])
        assert NAME in names(server)
        assert (python.parent.parent / f"share/jupyter/labextensions/{NAME}/package.json").is_file()
        assert change(server, "disable", NAME)["status"] == "ok"
        with pytest.raises(HTTPError) as missing:
            change(server, "install", "no-such-extension-anywhere")
        assert missing.value.code == 422
        message = json.loads(missing.value.read())["message"]
        assert message == "No matching distribution found for no-such-extension-anywhere"
        assert change(server, "uninstall", NAME)["status"] == "ok"
        assert NAME not in names(server)
    finally:
        code, _, err = server.stop()
    assert code == 0
    assert "Failed to install no-such-extension-anywhere" in err
    assert "Traceback" not in err
