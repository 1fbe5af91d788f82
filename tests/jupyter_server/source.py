"""jupyter_server's own tests: its source distribution from PyPI, of which only the tests are unpacked.

They go to `.cache/` at the root of the checkout, which is not in git, and are fetched once.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.21.1"
SHA256 = "a8960aa29263f6041283e97d4756b099fb49b767baab6371891ecb1bd40a63df"
HERE = Path(__file__).resolve().parent
CACHE = (HERE.parents[1] / ".cache").resolve()  # it may be a link, which pytest follows for some paths only


def fetch() -> Path:
    """The folder in which their package `tests` lies. Raises SystemExit when it can't be had."""
    folder = CACHE / f"jupyter_server-{VERSION}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            work = Path(name)
            _unpack(_download(work), work)
            _put_in_place(work / folder.name, folder)
    return folder


def _download(to: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "jupyter_server"]
    done = subprocess.run(
        [*pip, f"jupyter_server=={VERSION}"], cwd=to, capture_output=True, text=True, check=False
    )
    archives = list(to.glob("*.tar.gz"))
    if done.returncode or not archives:
        raise SystemExit(f"The tests of jupyter_server {VERSION} can't be had from PyPI:\n{done.stderr}")
    if hashlib.sha256(archives[0].read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{archives[0].name} from PyPI is not the file that it was when this was written.")
    return archives[0]


def _unpack(archive: Path, to: Path) -> None:
    with tarfile.open(archive) as tar:
        inside = f"jupyter_server-{VERSION}/tests/"
        tar.extractall(to, [m for m in tar.getmembers() if m.name.startswith(inside)], filter="data")


def _put_in_place(new: Path, folder: Path) -> None:
    """Whole or not at all; another run of the tests may have been faster."""
    try:
        new.rename(folder)
    except OSError:
        if not folder.exists():
            raise
