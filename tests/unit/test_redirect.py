from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.http.redirect import safe_next

BASE = "/a%40b/"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil",
        "///evil",
        "////evil",
        "/\\evil",
        "\\\\evil",
        "\\/evil",
        "http:evil",
        "http://evil",
        "https:///evil",
        "https:///a%40b/extra/slash",
        "//host/a%40b/tree",
        "%2f%2fevil",
        "/\t/evil",
        "/\n/evil",
        "/a%40b/\r\nSet-Cookie: x=y",
        "\t//evil",
        " //evil",
        "javascript:alert(1)",
        "/absolute/not/base_url",
        "/a%40bc/",
        "tree",
        "",
    ],
)
@pytest.mark.parametrize("base_url", ["/", BASE])
def test_nobody_is_sent_to_another_host_or_path(wanted: str, base_url: str):
    """S19; CVE-2025-61669, CVE-2023-39968, CVE-2020-26232, PYSEC-2020-50, CVE-2019-10255, CVE-2019-10856."""
    found = safe_next(wanted, base_url)
    if base_url == BASE or not wanted.startswith("/a"):
        assert found == base_url
    assert urlsplit(urljoin("http://ours:1/", found)).netloc == "ours:1"


@pytest.mark.parametrize(
    "wanted",
    [
        f"{BASE}tree/",
        f"{BASE}/{BASE}tree",
        f"{BASE}lab/tree/notebook.ipynb?reset&x=%2F#cell",
        f"{BASE}tree//something",
        f"{BASE}lab/tree/a:b.ipynb",
        f"{BASE}%5cevil",
    ],
)
def test_addresses_of_ours_come_through(wanted: str):
    assert safe_next(wanted, BASE) == wanted


def test_the_base_without_its_slash_is_ours_too():
    assert safe_next("/a%40b", BASE) == "/a%40b"


def test_other_letters_are_quoted():
    assert safe_next("/lab/tree/é.ipynb", "/") == "/lab/tree/%C3%A9.ipynb"


@given(st.text(alphabet="/\\:?#%. \t\n\r@aé\x00\x7f", max_size=12) | st.text(max_size=20))
def test_whatever_is_wanted_the_answer_is_a_path_of_ours(wanted: str):
    found = safe_next(wanted, "/")
    assert found.startswith("/")
    assert found[1:2] not in ("/", "\\")
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found
