"""A save where a directory has given way to something else: that is nobody's to be moved, least of all a link to where the data is now."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from evstore.core.errors import EvstoreError, Forbidden, NotFound
from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.services.contents import SaveRequest
from evstore.services.folder_contents import FolderContents
from tests.folder.both_sides import AUTHOR, BothSides


@pytest.fixture
async def both(tmp_path: Path) -> AsyncGenerator[BothSides]:
    both = BothSides(tmp_path)
    await both.open()
    (both.root / "data/below").mkdir(parents=True)
    both.write("data/below/nb", b"one")
    both.write("data/other", b"two")
    await both.folder.settled()
    yield both
    await both.close()


async def refused(both: BothSides) -> EvstoreError:
    """Why a save of `data/below/nb` is refused, by a client that has it open."""
    contents = FolderContents(both.store, both.folder, largest=1_000_000)
    wish = SaveRequest(body=bodies.prepare(b"three", both.store.known, notebook=False))
    with pytest.raises(EvstoreError) as told:
        await contents.save(ContentPath("data/below/nb"), wish, Author.new(AUTHOR))
    await both.folder.settled()
    return told.value


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("there", [True, False])
async def test_a_link(both: BothSides, tmp_path: Path, *, there: bool, known: bool) -> None:
    """As when it has become too large for this disk; `there` or, for now, not mounted."""
    (both.root / "data").rename(tmp_path / "large")
    (both.root / "data").symlink_to(tmp_path / ("large" if there else "nowhere"))
    if known:
        await both.folder.settled()
    assert isinstance(await refused(both), NotFound)
    assert (both.root / "data").is_symlink()
    assert [path.name for path in both.root.iterdir() if path.name != ".evstore"] == ["data"]


async def test_a_link_to_elsewhere_in_the_folder(both: BothSides) -> None:
    (both.root / "data").rename(both.root / "moved")
    (both.root / "data").symlink_to("moved")
    assert isinstance(await refused(both), Forbidden)
    assert (both.root / "data").is_symlink()
    assert await both.text("moved/below/nb") == b"one"


async def test_a_large_file(both: BothSides, tmp_path: Path) -> None:
    (both.root / "data").rename(tmp_path / "away")
    both.write("data", bytes(1_000_001))
    await both.folder.settled()
    assert isinstance(await refused(both), NotFound)
    assert (both.root / "data").stat().st_size == 1_000_001
