"""No conversion outlives the server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from threading import Thread
from urllib.error import URLError

import psutil
import pytest

from tests.notebooks import hanging
from tests.process.commands import Served, serving


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_conversion_outlives_the_server(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C kills it; what a killed server leaves ends by itself, soon after its time."""
    (tmp_path / "n.ipynb").write_text(json.dumps(hanging()))
    with serving(tmp_path, "--convert-timeout", "3") as server:
        server.ask("GET", "api/nbconvert")
        (worker,) = converters(server)
        request = Thread(target=fail, args=(server,))
        request.start()
        while worker.cpu_percent(0.05) < 20:
            pass
        code, _, complaints = server.stop(number)
        assert (code, complaints) == ((0, "") if number is signal.SIGINT else (-number, ""))
        request.join()
        assert psutil.wait_procs([worker], timeout=20)[1] == []


def fail(server: Served) -> None:
    with pytest.raises((URLError, ConnectionError)):
        server.ask("GET", "nbconvert/html/n.ipynb")


def converters(server: Served) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "evstore.processes.convert.worker" in child.cmdline()]
