"""`evstore serve --gateway-url`, as a person types it."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.gateway import TOKEN, RealGateway
from tests.process.commands import evstore, serving


@pytest.mark.parametrize(
    "names",
    [("EVSTORE_GATEWAY_URL", "EVSTORE_GATEWAY_TOKEN"), ("JUPYTER_GATEWAY_URL", "JUPYTER_GATEWAY_AUTH_TOKEN")],
)
def test_kernels_run_there_and_end_with_the_server(
    gateway: RealGateway, tmp_path: Path, names: tuple[str, str]
) -> None:
    with serving(tmp_path, "-vv", **dict(zip(names, (gateway.url, TOKEN), strict=True))) as served:
        assert served.ask("GET", "api/kernelspecs")["default"] == "python3"
        kernel = served.ask("POST", "api/kernels", {"name": "python3"})
        assert len(gateway.kernels) == 1
        served.ask("POST", f"api/kernels/{kernel['id']}/restart", {})
        code, out, err = served.stop()
    assert code == 0
    assert f"Kernels run at the gateway {gateway.url}, on its own files." in out
    assert TOKEN not in out + err
    assert " W " not in err and "Traceback" not in err
    assert f"Kernel {kernel['id']} is " in err
    assert gateway.kernels == []


def test_evstores_variable_comes_first(tmp_path: Path) -> None:
    urls = {"EVSTORE_GATEWAY_URL": "http://one.invalid", "JUPYTER_GATEWAY_URL": "http://two.invalid"}
    with serving(tmp_path, **urls) as served:
        with pytest.raises(HTTPError) as error:
            served.ask("GET", "api/kernelspecs")
        assert b"http://one.invalid" in error.value.read()
        assert error.value.code == 503


def test_a_port_that_is_taken_is_all_that_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        gateway = ("--gateway-url", "http://localhost:1")
        result = evstore("serve", ".", "--no-browser", "--port", port, *gateway, cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--gateway-url", "localhost:8888"), "Write it as http://host:port or https://host:port."),
        (
            ("--gateway-url", "http://ann:secret@host"),
            "Only host, port and path: the token goes into --gateway-token.",
        ),
        (("--gateway-url", "http://host/?token=secret"), "Only host, port and path"),
        (("--gateway-ws-url", "http://host"), "Write it as ws://host:port or wss://host:port."),
        (("--gateway-url", "http://host", "--gateway-ca-certs", "none.pem"), "'none.pem' does not exist"),
        (("--gateway-url", "http://host", "--gateway-timeout", "0"), "0.0 is not in the range"),
        (("--gateway-url", "https://host", "--gateway-client-key", __file__), "needs --gateway-client-cert"),
        (("--gateway-url", "http://host", "--gateway-token", "se\ncret"), "has characters in it"),
        (("--gateway-url", "https://host", "--gateway-ca-certs", __file__), "can't be used"),
    ],
)
def test_flags_that_mean_nothing(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    result = evstore("serve", ".", "--no-browser", "--port", "0", *flags, cwd=tmp_path)
    assert result.returncode != 0
    assert words in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr
