"""--base-url: what may stand in an address, a route, a cookie and a policy as it is."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from evstore.cli import main
from evstore.cli.flags import BaseUrl

REFUSED = [
    "a b",
    "a%20b",
    "{x}",
    "%7Bx%7D",
    "a?b",
    "a#b",
    "a\\b",
    "a;b",
    "a,b",
    "a%2Fb",
    "a%25b",
    "a%zz",
    "a%FF",
    "a%00",
    "a\n",
    "é",
    "%C3%A9",
    "..",
    "me/%2E%2E/you",
    "./me",
    "http://host/me",
]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("me", "/me/"),
        ("/me", "/me/"),
        ("me/", "/me/"),
        ("/me/", "/me/"),
        ("//me//too//", "/me/too/"),
        ("/user/ann@example.org/", "/user/ann@example.org/"),
        ("/user/ann%40example.org", "/user/ann%40example.org/"),
        ("a.b_c~d+e-F9", "/a.b_c~d+e-F9/"),
        ("...", "/.../"),
    ],
)
def test_slashes_are_added_and_the_rest_stays(given: str, used: str):
    assert BaseUrl().convert(given, None, None) == used


@pytest.mark.parametrize("given", REFUSED)
def test_what_needs_quoting_is_refused(given: str):
    with pytest.raises(click.BadParameter, match="use letters, digits and"):
        BaseUrl().convert(given, None, None)


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_refusal_is_a_usage_error_before_anything_is_made(tmp_path: Path, by: str):
    args, env = ([], {"EVSTORE_BASE_URL": "a b"}) if by == "environment" else (["--base-url", "a b"], {})
    result = CliRunner().invoke(main, ["serve", str(tmp_path), *args], env=env)
    assert result.exit_code == 2
    assert "Error: Invalid value for '--base-url'" in result.stderr
    assert "'a b': use letters, digits and . _ ~ @ + - between slashes" in result.stderr
    assert not list(tmp_path.iterdir())
