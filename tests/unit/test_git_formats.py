"""What git writes, read: nothing that stands in a commit or a tag stops it, and what comes out git takes again."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from evstore.transfer.git.formats import IDENT, Change, Commit, Step, to_commit, to_ident, to_steps, to_tag

names = st.sampled_from([b"author", b"committer", b"tagger", b"encoding", b"gpgsig", b"", b"x"])
encodings = st.sampled_from(
    [b"utf-8", b"ISO-8859-2", b"iso-2022-jp", b"utf-16", b"shift_jis", b"gb18030", b"rot13", b"idna", b"\0"]
)
idents = st.sampled_from([b"Ada ", b"<a@x>", b"<", b">", b" 16", b" +0100", b" -5", b" 99999999999999999999"])
odd = st.sampled_from([b"\n", b"\n\n", b"\0", b"\x1b$B", b"\xe9", b"\x81\x30"]) | st.binary(max_size=6)
values = st.lists(encodings | idents | odd, max_size=6).map(b"".join)
headers = st.lists(st.tuples(names, values).map(b" ".join), max_size=6).map(b"\n".join)
texts = st.tuples(headers, values).map(b"\n\n".join)


@example(b"encoding \0")
@given(texts)
def test_any_commit_can_be_read(data: bytes) -> None:
    commit = to_commit(data)
    codec = commit.encoding or "utf-8"
    for ident in (commit.author, commit.committer):
        assert IDENT.fullmatch(ident)
        ident.encode(codec)
    assert commit.message.encode(codec) == data.partition(b"\n\n")[2]


@given(texts)
def test_any_tag_can_be_read(data: bytes) -> None:
    tag = to_tag(b"object 1234\ntype commit\n" + data)
    assert tag.target == "1234" or b"\nobject " in data
    assert tag.tagger is None or IDENT.fullmatch(tag.tagger)
    tag.message.encode()


@given(st.text(max_size=40) | texts.map(lambda data: data.decode(errors="replace")))
def test_any_identity_becomes_one_that_git_takes(text: str) -> None:
    ident = to_ident(text)
    assert IDENT.fullmatch(ident)
    assert to_ident(ident) == ident


def test_a_commit() -> None:
    headers = (
        b"tree 12\nauthor A <a> 1 +0000\ncommitter C <c> 2 -0100\nencoding ISO-8859-2\ngpgsig -----\n more\n"
    )
    assert to_commit(headers + b"\n\xb1\n\nend\n") == Commit(
        "A <a> 1 +0000", "C <c> 2 -0100", "ą\n\nend\n", "ISO-8859-2", is_signed=True
    )


def test_steps() -> None:
    raw = b"c1\0:000000 100644 0 b1 A\0new\0:100644 100755 b1 b2 R086\0old\0moved\0c2\0c3\0:100644 000000 b2 0 D\0x\ny\0"
    assert list(to_steps(iter(raw.split(b"\0")[:-1]))) == [
        Step(
            "c1",
            [
                Change("000000", "100644", "b1", b"new"),
                Change("100644", "100755", "b2", b"moved", b"old"),
            ],
        ),
        Step("c2", []),
        Step("c3", [Change("100644", "000000", "0", b"x\ny")]),
    ]
