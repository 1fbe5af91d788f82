"""Source distributions from PyPI, for tests: jupyter_server's own tests, and a project to work in.

They go to `.cache/` at the root of the checkout, which is not in git, and are fetched once.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = (HERE.parents[1] / ".cache").resolve()  # it may be a link, which pytest follows for some paths only


@dataclass(frozen=True, slots=True)
class Source:
    """A source distribution."""

    name: str
    version: str
    sha256: str
    part: str = ""  # what is unpacked of it, as the paths begin

    def fetch(self) -> Path:
        """The folder that it is unpacked in. Raises SystemExit when it can't be had."""
        folder = CACHE / f"{self.name}-{self.version}"
        if not folder.exists():
            CACHE.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as name:
                work = Path(name)
                self._unpack(self._download(work), work)
                _put_in_place(work / folder.name, folder)
        return folder

    def _download(self, to: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", self.name]
        done = subprocess.run(
            [*pip, f"{self.name}=={self.version}"], cwd=to, capture_output=True, text=True, check=False
        )
        archives = list(to.glob("*.tar.gz"))
        if done.returncode or not archives:
            raise SystemExit(f"{self.name} {self.version} can't be had from PyPI:\n{done.stderr}")
        if hashlib.sha256(archives[0].read_bytes()).hexdigest() != self.sha256:
            raise SystemExit(
                f"{archives[0].name} from PyPI is not the file that it was when this was written."
            )
        return archives[0]

    def _unpack(self, archive: Path, to: Path) -> None:
        inside = f"{self.name}-{self.version}/{self.part}"
        with tarfile.open(archive) as tar:
            tar.extractall(to, [m for m in tar.getmembers() if m.name.startswith(inside)], filter="data")


JUPYTER_SERVER = Source(
    "jupyter_server", "2.21.1", "a8960aa29263f6041283e97d4756b099fb49b767baab6371891ecb1bd40a63df", "tests/"
)
NBCLIENT = Source("nbclient", "0.10.2", "90b7fc6b810630db87a6d0c2250b1f0ab4cf4d3c27a299b0cde78a4ed3fd9193")


def _put_in_place(new: Path, folder: Path) -> None:
    """Whole or not at all; another run of the tests may have been faster."""
    try:
        new.rename(folder)
    except OSError:
        if not folder.exists():
            raise
