"""Taking in git repositories: renames are moves, what can't come is told, and a second import goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evstore.core.events import ROOT, CommitImported, EntryDeleted, EntryMoved, TagImported
from evstore.core.paths import ContentPath
from evstore.log import log
from evstore.projections import tree
from evstore.services.contents import Contents
from evstore.store.body_upload import WHOLE
from evstore.store.store import Store
from evstore.transfer.git import history_reader
from evstore.transfer.git.git_import import OFF_THE_LINE, GitReport, import_repository
from evstore.worktree.disk.stat_checks import BAD_NAME
from tests import git_repository as repositories
from tests.git_repository import FILE, Step, build, commit, git, head, line, new_repository, write
from tests.log_files import events_of, files_at, me, save, take_in

MODULE = "".join(f"line {number}\n" for number in range(100)).encode()
DATE = 1_600_000_000_000_000  # µs, of the first commit


# -- what comes in -----------------------------------------------------------------------


async def test_a_commit_is_a_command_of_its_author_with_its_date(store: Store, tmp_path: Path) -> None:
    author = "Ada Lovelace <ada@example.org> 1600000000 +0200"
    repository = build(
        tmp_path / "in", [Step({"sub/a.txt": (FILE, b"hello")}, "Say hello\n\nto all", author)]
    )
    report = await take_in(store, repository)
    assert (report.commits, report.tags, report.signed, report.skipped) == (1, 0, 0, [])
    events = await store.read(lambda tx: log.after(tx, 0))
    assert {(one.actor, one.command) for one in events} == {("Ada Lovelace", events[0].command)}
    assert events[-1].entry == ROOT
    assert events[-1].event == CommitImported(
        commit=head(repository), author=author, committer=author, message="Say hello\n\nto all"
    )
    found = (await Contents(store).get(ContentPath("sub/a.txt"))).entry
    assert (found.created, found.modified, found.size) == (DATE, DATE, 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "b"),
        ("a", "b/c/d"),
        ("a/b/c", "a"),  # a folder gives way to the file that was in it
        ("a", "a/b/c"),  # a file to the folder that it goes into
        (".hidden", "shown"),
    ],
)
@pytest.mark.parametrize("edit", [b"", b"one more line\n"])
async def test_a_rename_is_a_move(store: Store, tmp_path: Path, before: str, after: str, edit: bytes) -> None:
    steps = [
        Step({before: (FILE, MODULE), "x": (FILE, b"x")}),
        Step({after: (FILE, MODULE + edit), "x": (FILE, b"x")}),
    ]
    await take_in(store, build(tmp_path / "in", steps))
    last = (await store.read(lambda tx: tree.entry_at(tx, ContentPath(after)))) or pytest.fail(
        "it is not there"
    )
    first, _ = await events_of(store, CommitImported)
    then = await store.read(lambda tx: tree.entry_at(tx, ContentPath(before), first.offset))
    assert then is not None
    assert then.id == last.id
    moves = [
        one.event.name for one in await events_of(store, EntryMoved) if isinstance(one.event, EntryMoved)
    ]
    assert moves[-1] == ContentPath(after).name
    assert await files_at(store) == repositories.ids(steps[-1].files)
    below = await store.read(
        lambda tx: [str(e.path) for e in tree.subtree(tx, tree.root(tx)) if e.is_directory]
    )
    assert sorted(below) == sorted({"", *(str(folder) for folder in Path(after).parents if folder.name)})


async def test_only_the_line_of_first_parents_and_the_revision_that_is_asked_for(
    store: Store, tmp_path: Path
) -> None:
    repository = new_repository(tmp_path / "in")
    write(repository, "a", "1")
    commit(repository, "First", 1)
    git(repository, "checkout", "--quiet", "-b", "side")
    write(repository, "b", "2")
    commit(repository, "On the side", 2)
    git(repository, "checkout", "--quiet", "main")
    git(repository, "merge", "--quiet", "--no-ff", "side", "-m", "Merge")
    write(repository, "c", "3")
    commit(repository, "Last", 4)
    assert (await take_in(store, repository, "whole")).commits == 3
    assert (await take_in(store, repository, "part", "main~1")).commits == 2
    assert (await take_in(store, repository, "side", "side")).commits == 2
    assert set(await files_at(store, folder="whole")) == {"a", "b", "c"}
    assert (
        set(await files_at(store, folder="part")) == set(await files_at(store, folder="side")) == {"a", "b"}
    )
    told = [
        one.event.message
        for one in await events_of(store, CommitImported)
        if isinstance(one.event, CommitImported)
    ]
    assert [message.strip() for message in told] == [
        "First",
        "Merge",
        "Last",
        "First",
        "Merge",
        "First",
        "On the side",
    ]


async def test_text_in_other_encodings(store: Store, tmp_path: Path) -> None:
    """A message says what its encoding is; one that lies is read so that no byte of it is lost."""
    repository = new_repository(tmp_path / "in")
    for place, (encoding, message) in enumerate(
        ((b"ISO-8859-2", b"\xb1\xe6"), (b"no-such", b"\xe9"), (b"", b"\xff\xfe"))
    ):
        told = [b"tree " + git(repository, "write-tree").strip()]
        told += [b"parent " + head(repository).encode()] if place else []
        told += [b"author \xe9 <a@x> 1 +0000", b"committer C <c@x> 2 +0000"]
        told += [b"encoding " + encoding] if encoding else []
        made = git(
            repository, "hash-object", "-w", "-t", "commit", "--stdin", data=b"\n".join([*told, b"", message])
        )
        git(repository, "update-ref", "refs/heads/main", made.decode().strip())
    await take_in(store, repository)
    found = [one.event for one in await events_of(store, CommitImported)]
    assert [(one.message, one.encoding) for one in found if isinstance(one, CommitImported)] == [
        ("ąć", "ISO-8859-2"),
        ("é", "ISO-8859-1"),
        ("ÿþ", "ISO-8859-1"),
    ]
    assert [one.actor for one in await events_of(store, CommitImported)] == ["é"] * 3


async def test_much_in_one_commit_is_stored_ahead(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_reader, "BATCH_BYTES", 10_000)
    files = {f"{number}.bin": (FILE, os.urandom(3000)) for number in range(50)}
    files |= {"same.bin": files["1.bin"], "empty": (FILE, b""), "huge.bin": (FILE, os.urandom(WHOLE + 1))}
    await take_in(store, build(tmp_path / "in", [Step(files)]))
    assert await files_at(store) == repositories.ids(files)
    assert store.load().commands > 10


# -- what does not -----------------------------------------------------------------------


async def test_what_is_left_out_is_told(store: Store, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "in")
    write(repository, "kept", "kept")
    write(repository, "becomes a link", "a file")
    write(repository, "grows", "small")
    commit(repository, "First", 1)
    for name in ("becomes a link", "a link"):
        (repository / name).unlink(missing_ok=True)
        (repository / name).symlink_to("/etc/passwd")
    write(repository, "back\\slash", "")
    write(repository, os.fsdecode(b"latin\xe9"), "")
    write(repository, "é" * 127 + "/x", "long, but not too long")
    write(repository, ".evstore/log.db", "not ours")
    write(repository, "sub/.Evstore/log.db", "not for any folder of ours")
    write(repository, "grows", "x" * 100)
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head(repository)},a module")
    git(repository, "add", "--all", "--", ":!a module")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head(repository)},a module")
    git(repository, "commit", "--quiet", "-m", "Second")
    report = await take_in(store, repository, max_size=99)
    assert {(skipped.path, skipped.reason) for skipped in report.skipped} == {
        ("becomes a link", "a symbolic link"),
        ("a link", "a symbolic link"),
        ("a module", "a submodule"),
        ("back\\slash", BAD_NAME),
        ("latin\\xe9", BAD_NAME),
        (".evstore/log.db", "in evstore's own folder"),
        ("sub/.Evstore/log.db", "in evstore's own folder"),
        ("grows", "larger than 99 bytes"),
    }
    assert set(await files_at(store)) == {"kept", "é" * 127 + "/x"}
    first, _ = await events_of(store, CommitImported)
    assert set(await files_at(store, first.offset)) == {"kept", "becomes a link", "grows"}


async def test_tags(store: Store, tmp_path: Path) -> None:
    repository = build(
        tmp_path / "in", [Step({"a": (FILE, b"1")}), Step({"a": (FILE, b"2")}, tags=["plain"])]
    )
    git(repository, "tag", "-a", "told", "-m", "Why", "main~1", GIT_COMMITTER_DATE="1600000009 +0100")
    git(repository, "tag", "-a", "of-a-tag", "-m", "Outer", "told", GIT_COMMITTER_DATE="1600000010 +0100")
    git(repository, "tag", "of-a-tree", "main^{tree}")
    report = await take_in(store, repository)
    first, second = await events_of(store, CommitImported)
    tagger = "Grace Hopper <grace@example.org> 16000000{} +0100"
    assert {one.event for one in await events_of(store, TagImported)} == {
        TagImported(name="plain", source=second.offset),
        TagImported(name="told", source=first.offset, tagger=tagger.format("09"), message="Why\n"),
        TagImported(name="of-a-tag", source=first.offset, tagger=tagger.format("10"), message="Outer\n"),
    }
    assert report.tags == 3
    assert [(one.path, one.reason) for one in report.skipped] == [("the tag of-a-tree", OFF_THE_LINE)]


# -- again -------------------------------------------------------------------------------


async def test_a_second_import_takes_what_is_new(store: Store, tmp_path: Path) -> None:
    steps = [
        Step({"a": (FILE, b"1"), "d/b": (FILE, MODULE)}),
        Step({"a": (FILE, b"2"), "d/b": (FILE, MODULE)}),
    ]
    repository = build(tmp_path / "in", steps)
    assert (await take_in(store, repository, "below")).commits == 2
    before = store.offset
    assert await take_in(store, repository, "below") == GitReport()
    assert store.offset == before
    git(repository, "tag", "late", "main~1")
    git(repository, "reset", "--quiet", "--hard")
    git(repository, "mv", "d/b", "d/c")
    write(repository, "e", "3")
    commit(repository, "Third", 5)
    git(repository, "tag", "new")
    assert (await take_in(store, repository, "below")) == GitReport(commits=1, tags=2)
    assert (await take_in(store, repository, "below")) == GitReport()
    assert await files_at(store, folder="below") == repositories.tree(repository, "main")
    commits, tags = await events_of(store, CommitImported), await events_of(store, TagImported)
    sources = {one.event.name: one.event.source for one in tags if isinstance(one.event, TagImported)}
    assert sources == {"late": commits[0].offset, "new": commits[2].offset}
    git(repository, "tag", "--force", "late", "main")
    assert (await take_in(store, repository, "below")) == GitReport(tags=1)


async def test_the_folder_may_have_been_renamed(store: Store, tmp_path: Path) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    await take_in(store, repository, "before")
    await Contents(store).move(ContentPath("before"), ContentPath("after"), me())
    assert await take_in(store, repository, "after") == GitReport()


async def test_what_somebody_did_meanwhile_gives_way_and_can_be_had_again(
    store: Store, tmp_path: Path
) -> None:
    """Files that were changed, moved and deleted here, and a folder and a file where git has the other."""
    names = ("changed", "gone", "moved", "renamed", "deleted in both")
    steps = [
        Step({name: (FILE, MODULE + name.encode()) for name in names}),
        Step(
            {
                "changed": (FILE, b"git's"),
                "gone": (FILE, b"back"),
                "moved": (FILE, b"here"),
                "new name": (FILE, MODULE + b"renamed"),
                "folder": (FILE, b"a file"),
                "file/x": (FILE, b"in a folder"),
            }
        ),
    ]
    repository = build(tmp_path / "in", steps)
    await take_in(store, repository, "", "main~1")
    contents = Contents(store)
    await save(store, "changed", b"ours")
    await contents.delete(ContentPath("gone"), me())
    await contents.move(ContentPath("moved"), ContentPath("elsewhere"), me())
    await contents.delete(ContentPath("deleted in both"), me())
    for path in ("folder", "new name"):
        await contents.create_directory(ContentPath(path), me())
        await save(store, f"{path}/deep", b"ours")
    await save(store, "file", b"ours")
    before = await files_at(store)
    offset = store.offset
    await take_in(store, repository)
    found = await files_at(store)
    assert found.pop("elsewhere") == before["elsewhere"]
    assert found == repositories.ids(steps[1].files)
    assert await files_at(store, offset) == before
    gone = [one for one in await events_of(store, EntryDeleted) if one.offset > offset]
    assert len(gone) == 3  # both folders with what was in them, and the file


async def test_an_import_that_was_broken_off_is_gone_on_with(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_reader, "BATCH_COMMITS", 3)
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"%d" % number)}) for number in range(10)])

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await import_repository(store, repository, into=ContentPath(""), max_size=9, progress=stop)
    assert len(await events_of(store, CommitImported)) == 6
    assert (await take_in(store, repository)).commits == 4
    found = [
        one.event.commit
        for one in await events_of(store, CommitImported)
        if isinstance(one.event, CommitImported)
    ]
    assert found == line(repository)
