"""What waits for a client: in order, each once, bounded in memory."""

from __future__ import annotations

import os
import random
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.core.units import MIB
from evstore.processes.kernels import outbox as module
from evstore.processes.kernels import spill_file
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.outbox import Outbox
from evstore.processes.kernels.spill_file import DiskSpace, SpillFile

SMALL, PAGE = 1000, 500


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", PAGE)


def limits(*, memory: int, disk: int, total: int = 100 * MIB) -> Limits:
    return Limits(memory=memory, disk=disk, cell=MIB, space=DiskSpace(total))


def notice(lost: bytes, count: int) -> bytes:
    return b"lost %d, the last %s" % (count, lost[:20])


def take_all(outbox: Outbox) -> list[bytes]:
    frames: list[bytes] = []
    while taken := outbox.take(200):
        frames += taken
    return frames


STEPS = st.lists(st.binary(max_size=700) | st.integers(1, 800), max_size=60)


@given(STEPS)
def test_first_in_first_out(steps: list[bytes | int]) -> None:
    outbox = Outbox(notice, limits(memory=SMALL, disk=MIB))
    given_frames: list[bytes] = []
    taken: list[bytes] = []
    for step in steps:
        if isinstance(step, bytes):
            outbox.put(step)
            given_frames.append(step)
        else:
            taken += outbox.take(step)
    taken += take_all(outbox)
    assert taken == given_frames
    assert not outbox
    outbox.close()


def test_memory_is_bounded_and_the_rest_is_on_disk() -> None:
    outbox = Outbox(notice, limits(memory=SMALL, disk=MIB))
    source = random.Random(1)
    frames = [source.randbytes(source.randrange(300)) for _ in range(5000)]
    for frame in frames:
        outbox.put(frame)
        assert outbox.in_memory <= SMALL + PAGE + 300
    assert take_all(outbox) == frames
    assert outbox.in_memory == 0


def test_a_frame_larger_than_everything() -> None:
    outbox = Outbox(notice, limits(memory=SMALL, disk=MIB))
    frames = [b"first", b"x" * 10_000, b"y" * 10_000, b"last"]
    for frame in frames:
        outbox.put(frame)
    assert take_all(outbox) == frames


def test_what_was_not_delivered_comes_first_again() -> None:
    outbox = Outbox(notice, limits(memory=SMALL, disk=MIB))
    for number in range(100):
        outbox.put(b"%03d" % number * 20)
    taken = outbox.take(300)
    outbox.put_back(taken)
    assert take_all(outbox) == [b"%03d" % number * 20 for number in range(100)]


def test_the_file_has_no_name_and_nobody_else_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    outbox = Outbox(notice, limits(memory=10, disk=MIB))
    for _ in range(100):
        outbox.put(b"x" * 100)
    assert list(tmp_path.iterdir()) == []
    before = len(os.listdir("/proc/self/fd"))
    outbox.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_output_over_the_limit_is_counted_and_told_where_it_is_missing() -> None:
    outbox = Outbox(notice, limits(memory=1000, disk=2000))
    for number in range(60):
        outbox.put(b"%02d" % number * 50, is_output=True)
    outbox.put(b"idle")
    kept = take_all(outbox)
    count = len(kept) - 2
    assert kept[:count] == [b"%02d" % number * 50 for number in range(count)]
    assert 20 <= count < 40
    assert kept[count:] == [b"idle", b"lost %d, the last 59595959595959595959" % (60 - count)]


def test_what_all_have_on_disk_is_limited_too() -> None:
    shared = limits(memory=1000, disk=10_000, total=15_000)
    first, second, third = (Outbox(notice, shared) for _ in range(3))
    for outbox in (first, second, third):
        for number in range(200):
            outbox.put(b"%03d" % number * 30, is_output=True)
    assert first.on_disk > 9000
    assert first.on_disk + second.on_disk + third.on_disk == shared.space.used <= 15_000
    assert third.on_disk == 0
    assert take_all(third)[-1].startswith(b"lost ")
    first.close()
    for number in range(100):
        third.put(b"%03d" % number * 30, is_output=True)
    assert take_all(third) == [b"%03d" % number * 30 for number in range(100)]
    take_all(second)
    assert shared.space.used == 0


def test_the_files_of_a_slow_client_that_keeps_up_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE", 5000)
    outbox = Outbox(notice, ours := limits(memory=1000, disk=20_000))
    for number in range(100):
        outbox.put(b"%04d" % number * 25, is_output=True)
    for number in range(100, 5000):
        outbox.put(b"%04d" % number * 25, is_output=True)
        assert outbox.take(1) == [b"%04d" % (number - 100) * 25]
    assert ours.space.used < 20_000
    assert len(take_all(outbox)) == 100


def test_a_file_that_nobody_has_any_more_takes_no_space() -> None:
    space = DiskSpace(100)
    file = SpillFile(space)
    assert file.read(file.append(b"some"), 4) == b"some"
    assert space.used == 4 and space.has_room(96) and not space.has_room(97)
    del file
    assert space.used == 0


def test_the_notice_stands_before_what_is_kept_again() -> None:
    outbox = Outbox(notice, limits(memory=500, disk=1000))
    for number in range(30):
        outbox.put(b"%02d" % number * 50, is_output=True)
    frames = outbox.take(1200)
    outbox.put(b"more", is_output=True)
    frames += take_all(outbox)
    lost = [frame for frame in frames if frame.startswith(b"lost")]
    assert len(lost) == 1
    assert frames[-2:] == [lost[0], b"more"]
    assert int(lost[0].split(b" ")[1].strip(b",")) == 30 - (len(frames) - 2)


def test_a_full_disk_costs_output_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spill_file, "temporary_file", lambda: FileIO("/dev/full", "r+"))
    outbox = Outbox(notice, limits(memory=1000, disk=MIB))
    for number in range(60):
        outbox.put(b"%02d" % number * 50, is_output=True)
        outbox.put(b"status %d" % number)
    kept = take_all(outbox)
    assert [frame for frame in kept if frame.startswith(b"status")] == [b"status %d" % n for n in range(60)]
    assert kept[-1].startswith(b"lost ")
    assert outbox.in_memory == 0
    assert "No space left on device" in caplog.text
    assert "Traceback" not in caplog.text
