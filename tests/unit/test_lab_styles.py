from __future__ import annotations

import pytest

from evstore.lab.styles import with_absolute_urls

BASE = "/base/lab/api/themes/@org/theme"


@pytest.mark.parametrize(
    ("css", "expected"),
    [
        ("url('images/a.png')", f"url('{BASE}/images/a.png')"),
        ('url("../b.css")', 'url("/base/lab/api/themes/@org/b.css")'),
        ("url(c.svg)", f"url({BASE}/c.svg)"),
        ("url( 'd.png' )", f"url('{BASE}/d.png')"),
        ("url('/abs.png')", "url('/abs.png')"),
        ("url(#filter)", "url(#filter)"),
        ("url(https://elsewhere/x.png)", "url(https://elsewhere/x.png)"),
        ("url('data:image/png;base64,AA')", "url('data:image/png;base64,AA')"),
        ("a{b:url(x.png)}c{d:url('y.png')}", f"a{{b:url({BASE}/x.png)}}c{{d:url('{BASE}/y.png')}}"),
    ],
)
def test_relative_addresses_become_absolute(css: str, expected: str):
    assert with_absolute_urls(css, BASE) == expected
