from __future__ import annotations

import pytest

from evstore.http.origin import is_local


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8888",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1:8888",
        "127.8.8.8",
        "[::1]",
        "[::1]:1",
        "::1",
    ],
)
def test_names_of_this_machine(host: str):
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "127.0.0.1.nip.io",
        "evil.com:8888",
        "0.0.0.0",
        "::",
        "192.168.1.5",
        "10.0.0.1:80",
        "[fe80::1]",
        "[::1",
        "2130706433",
        "0x7f.1",
        "evil.com/127.0.0.1",
        "127.0.0.1\\evil.com",
        "evil.com#@localhost",
    ],
)
def test_everything_else_is_elsewhere(host: str):
    """S4: DNS rebinding."""
    assert not is_local(host)
