from __future__ import annotations

import pytest

from evstore.http.scrub import scrub


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/lab?token=abc", "/lab?token=[secret]"),
        ("/lab?a=1&token=abc&b=2", "/lab?a=1&token=[secret]&b=2"),
        ("http://h/?TOKEN=abc#x", "http://h/?TOKEN=[secret]#x"),
        ("/x?access_token=abc&auth_code=d", "/x?access_token=[secret]&auth_code=[secret]"),
        ("/x?_xsrf=abc&state=s&key=k&code=c", "/x?_xsrf=[secret]&state=[secret]&key=[secret]&code=[secret]"),
        ("/x?normal=value", "/x?normal=value"),
        ("/files/token=1.txt", "/files/token=1.txt"),
        ('failed at "/x?token=abc"', 'failed at "/x?token=[secret]"'),
        ("referer=http://h/y?token=abc next", "referer=http://h/y?token=[secret] next"),
        ("/x?token=", "/x?token=[secret]"),
        ("/login?next=/lab?token=abc", "/login?next=/lab?token=[secret]"),
        ("/x?" + "token" * 13_000, "/x?" + "token" * 13_000),  # would take seconds if each was tried as a key
    ],
)
def test_values_of_secret_keys_are_hidden(text: str, clean: str):
    """S14."""
    assert scrub(text) == clean


def test_the_secret_itself_is_hidden_wherever_it_stands():
    assert scrub("KeyError: 'abc'", "abc", "") == "KeyError: '[secret]'"
