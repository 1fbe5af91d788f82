"""Names as long as a disk allows: nothing that is done with them needs a longer one."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.process.commands import PATIENCE, TOKEN, serving


@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127], ids=["ascii", "two bytes each"])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    with serving(tmp_path) as server:
        path = f"{name}/{name}"
        (tmp_path / name).mkdir()
        server.ask("GET", f"api/contents/{quote(name)}")  # which sees it
        server.save(quote(path), "first")
        assert (tmp_path / path).read_text() == "first"
        server.save(quote(path), "second")
        (tmp_path / path).write_text("by a program")
        assert server.text(quote(path)) == "by a program"
        request = Request(
            f"{server.url}api/contents/{quote(name)}",
            headers={"Authorization": f"token {TOKEN}"},
            method="DELETE",
        )
        with urlopen(request, timeout=PATIENCE) as reply:
            assert reply.status == 204
        assert os.listdir(tmp_path) == [".evstore"]
