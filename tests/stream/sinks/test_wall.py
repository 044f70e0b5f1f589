"""Wall in the terminal: a row a wearer with its interval, and no number that is old."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from innpar.stream.sinks.wall import NewestBeat, wall


def beat(device: str, **fields: Any) -> NewestBeat:
    payload = {
        "device": device, "source": "simulated", "valid": True, "sbp": 121.4, "dbp": 74.9,
        "map": 91.2, "hr": 66.0, "quality": 0.93, "reasons": [],
        "interval": {"level": 0.9, "sbp": [111.6, 133.0], "dbp": [66.1, 80.2], "map": [80, 99]},
        "calibration": {"state": "ok", "age_s": 31, "sbp": 128, "dbp": 79},
    }  # fmt: skip
    return NewestBeat(payload | fields, 100.0)


def shown(*beats: NewestBeat, now: float = 101.0, width: int = 90, height: int = 24) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    newest = {str(one.payload["device"]): one for one in beats}
    console.print(wall(newest, now, height))
    return out.getvalue().splitlines()


def row(lines: list[str], name: str) -> list[str]:
    (line,) = (line for line in lines if name in line)
    return [cell.strip() for cell in line.strip(" │┃").split("│")]


def test_a_row_has_the_numbers_and_their_intervals() -> None:
    lines = shown(beat("one"))
    cells = ["one", "121/75", "112–133 / 66–80", "91", "66", "cuff 128/79, quality 93%"]
    assert row(lines, "one") == cells
    assert "Research software, not an alarm system" in "".join(lines)


@pytest.mark.parametrize(
    ("fields", "cells"),
    [
        ({"valid": False, "reasons": ["motion"], "hr": 70}, ["—/—", "—", "—", "70", "moving"]),
        ({"interval": None}, ["121/75", "? / ?", "91", "66", "cuff 128/79, quality 93%"]),
        (
            {"calibration": {"state": "none"}},
            ["121/75", "112–133 / 66–80", "91", "66", "not calibrated, quality 93%"],
        ),
        (
            {"interval": {"sbp": [float("nan"), 1], "dbp": "x"}, "sbp": True, "quality": None},
            ["—/75", "? / ?", "91", "66", "cuff 128/79"],
        ),
    ],
)
def test_what_is_not_known_is_no_number(fields: dict[str, Any], cells: list[str]) -> None:
    assert row(shown(beat("one", **fields), width=100), "one")[1:] == cells


def test_a_number_stands_for_five_seconds() -> None:
    assert "121/75" in row(shown(beat("one"), now=104.9), "one")
    assert row(shown(beat("one"), now=117.0), "one")[1:] == [
        "—/—", "—", "—", "—", "no beat for 17 s",
    ]  # fmt: skip


def test_wearers_keep_their_order_and_those_without_room_are_counted() -> None:
    beats = [beat(f"wearer-{k:02}") for k in range(64)]
    lines = shown(*beats, height=24)
    assert len(lines) <= 24
    names = [line.split()[0].strip("│") for line in lines if "121/75" in line]
    assert names == [f"wearer-{k:02}" for k in range(len(names))]
    assert any(f"{64 - len(names)} more" in line for line in lines)
    assert "more" not in "".join(shown(*beats[:16], height=24))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_hostile_name_stays_in_its_row(width: int) -> None:
    lines = shown(beat("x\x1b[2J\nother  120/80" * 9), beat("two"), width=width)
    assert all(len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)
    assert len([line for line in lines if "121/75" in line]) == 2
