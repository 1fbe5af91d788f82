"""schemathesis asks a running server for everything that spec.yaml describes, rightly and wrongly.

No answer may be outside the document: not its status, its type or its schema, and what the document
forbids must be refused. EVSTORE_SPEC_EXAMPLES (for each operation; `make soak` asks for many) makes it longer.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from evstore.http import openapi
from evstore.http.app import ROUTES
from tests.process.commands import TOKEN, Served, environment

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("EVSTORE_SPEC_EXAMPLES", "4"))
SLEEP = ["sh", "-c", "trap '' INT; exec sleep 600"]  # starts at once, never answers, bears interrupts
SPEC = {"argv": SLEEP, "display_name": "Idle", "language": "none"}
NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
EXCLUDED = {
    "POST /api/shutdown": "the server would stop in the middle; tests/http/test_misc.py asks for it",
    "GET /api/spec.yaml": "schemathesis reads it at the start; tests/http/test_spec.py does",
    "GET /api/history/feed": "does not end; tests/http/test_history.py reads it",
    **dict.fromkeys(
        (
            "POST /api/clusters/{profile}/start",
            "POST /clusters/{profile}/start",
            "POST /ipyparallel/clusters",
            "POST /ipyparallel/clusters/{key}",
        ),
        "each request would start engines, hundreds of processes in all; tests/http/test_clusters.py asks for some",
    ),
}
NEEDS_MORE = {  # what schemathesis can't make up; that these succeed is shown elsewhere
    "GET /{id}": "an entry's id: tests/http/legacy",
    "GET /{id}/copy": "an entry's id: tests/http/legacy",
    "GET /{id}/print": "an entry's id: tests/http/legacy",
    "DELETE /api/notebooks/{path}/checkpoints/{checkpoint}": "a checkpoint that is still there: tests/http/legacy",
    "GET /api/kernels/{kernel_id}/executions/{execution_id}": "a cell that runs",
    "POST /api/clusters/{profile}/stop": "a cluster that runs: tests/http/test_clusters.py",
    "POST /clusters/{profile}/stop": "likewise",
    "GET /ipyparallel/clusters/{key}": "likewise",
    "DELETE /ipyparallel/clusters/{key}": "likewise",
    "GET /api/clusters/{profile}": "a profile of IPython's: tests/http/test_clusters.py",
    "GET /clusters/{profile}": "likewise",
    "POST /notebooks": "a notebook as the body: tests/http/legacy",
    "PUT /notebooks/{id}": "likewise",
    "POST /lab/api/extensions": "off, unless a flag allows it",
    "POST /lab/api/build": "nothing to build; 501",
    "DELETE /lab/api/build": "nothing to build; 404",
}
EXPECTED = re.compile(r"Content security violation|has not answered for")  # what may stand on stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A server with a few files, a kernel that costs nothing, and settings of its own."""
    folder, home, log = tmp_path / "folder", tmp_path / "home", tmp_path / "stderr"
    kernel = home / "data" / "kernels" / "idle"
    for made in (folder / "folder", kernel):
        made.mkdir(parents=True)
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "n.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "raw.bin").write_bytes(b"\xff\x00")
    (folder / "folder" / "notebook.ipynb").write_text(json.dumps(NOTEBOOK))
    (kernel / "kernel.json").write_text(json.dumps(SPEC))
    (kernel / "logo.png").write_bytes(b"\x89PNG")
    flags = ("--no-browser", "--port", "0", "--token", TOKEN, "--default-kernel", "idle")
    folders = {f"JUPYTER_{name.upper()}_DIR": str(home / name) for name in ("config", "data", "runtime")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "evstore", "serve", str(folder), *flags],
            cwd=Path.cwd(),
            env=environment(HOME=str(home), **folders),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        served = Served(folder, folder / ".evstore" / "log.db", process)
        try:
            served.wait_until_up()
            for path in ("a.txt", *["folder/notebook.ipynb"] * 3):
                checkpoint = served.ask("POST", f"api/contents/{path}/checkpoints")
            assert checkpoint["id"] == "13"  # 12 and 13 are the document's examples
            served.save("folder/old.txt", "old")
            served.save("folder/old.ipynb", json.dumps(NOTEBOOK))
            served.ask("PUT", "api/contents/gone", {"type": "directory"})
            served.ask("DELETE", "api/contents/gone")
            yield served
            assert served.stop(signal.SIGINT)[0] == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert [line for line in log.read_text().splitlines() if not EXPECTED.search(line)] == []


@pytest.mark.timeout(0 if EXAMPLES > 20 else 300)
def test_no_answer_is_outside_the_document(server: Served, tmp_path: Path):
    report = tmp_path / "report.ndjson"
    excluded = [part for one in skipped() for part in ("--exclude-name", one)]
    command = [shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"]
    command += ["--config-file", str(HERE / "schemathesis.toml"), "run", f"{server.url}api/spec.yaml"]
    command += ["--header", f"Authorization: token {TOKEN}", "--max-examples", str(EXAMPLES), *excluded]
    if EXAMPLES <= 20:  # a longer run is another one each time
        command.append("--generation-deterministic")
    command += ["--report", "ndjson", "--report-ndjson-path", str(report)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(
            PYTHONPATH=os.pathsep.join([str(HERE), str(HERE.parents[1])]),
            EVSTORE_SPEC_URL=server.url,
            EVSTORE_SPEC_TOKEN=TOKEN,
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = answered(report)
    asked = {name: answers[name] for name in operations() - skipped() - set(NEEDS_MORE)}
    failed = {name: got for name, got in asked.items() if not any(200 <= each < 400 for each in got)}
    assert failed == {}, "none of the requests for these was one that succeeds"


def operations() -> set[str]:
    """All that the document has, as schemathesis names them. (That it has all: tests/http/test_spec.py.)"""
    paths = openapi.document(ROUTES, "/")["paths"]
    return {
        f"{method.upper()} {path}" for path in paths for method in paths[path] if method in openapi.METHODS
    }


def skipped() -> set[str]:
    """What is not asked for: EXCLUDED, and websockets, which schemathesis does not speak."""
    document = openapi.document(ROUTES, "/")
    sockets = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in openapi.METHODS and "101" in operation["responses"]
    }
    return sockets | set(EXCLUDED)


def answered(report: Path) -> defaultdict[str, set[int]]:
    """The statuses that each operation was answered with."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for case_id, interaction in recorder.get("interactions", {}).items():
            case, response = recorder["cases"][case_id]["value"], interaction.get("response")
            if response is not None:
                found[f"{case['method']} {case['path']}"].add(response["status_code"])
    return found
