"""What of the variables that a client sends reaches its kernel."""

from __future__ import annotations

import pytest

from evstore.core.errors import Invalid
from evstore.processes.kernels.environment import MAX_SIZE, requested


@pytest.mark.parametrize(
    ("env", "taken"),
    [
        (None, {}),
        ({}, {}),
        ({"KERNEL_USERNAME": "ann", "KERNEL_": ""}, {"KERNEL_USERNAME": "ann", "KERNEL_": ""}),
        ({"PATH": "/evil", "LD_PRELOAD": "x", "kernel_x": "1", "XKERNEL_X": "1"}, {}),
        ({"HTTP_PROXY": "http://x", "KERNEL_A": "=b\n"}, {"HTTP_PROXY": "http://x", "KERNEL_A": "=b\n"}),
        ({"PATH": 5}, {}),  # not taken, so not looked at
        ({"KERNEL_Ä": "ö"}, {"KERNEL_Ä": "ö"}),
    ],
)
def test_what_is_taken(env: object, taken: dict[str, str]) -> None:
    assert requested(env, ("HTTP_PROXY",)) == taken


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ([], "must be an object"),
        ("KERNEL_A=1", "must be an object"),
        ({"KERNEL_A": 1}, "KERNEL_A must be a string"),
        ({"KERNEL_A": None}, "KERNEL_A must be a string"),
        ({"KERNEL_A": "a\0b"}, "null characters"),
        ({"KERNEL_A\0": "b"}, "can't be the name"),
        ({"KERNEL_A=B": "c"}, "can't be the name"),
        ({"KERNEL_A": "x" * MAX_SIZE}, "larger than"),
        ({f"KERNEL_{number}": "x" * 1000 for number in range(100)}, "larger than"),
    ],
)
def test_what_is_refused(env: object, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        requested(env)
