"""One line per device: the words for every reason, and the parts that a narrow terminal shows."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest

from innpar.stream.messages.beat import beat_payload
from innpar.stream.pipeline.reports import REMEDIES, fit
from innpar.stream.results import CalibrationStatus, Reason, Reference
from innpar.stream.sinks.beat_line import REASON_WORDS, beat_line
from support.items import beat, rejected
from support.paths import ROOT

REASONS = set(get_args(Reason))
OF_BEATS = {"irregular", "ectopic", "slow", "fast", "implausible", "uncalibrated"}
"""Reasons that a window never has: they come from its beats and their rhythm."""
SCHEMAS = ROOT / "stream" / "messages" / "schemas"


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))["properties"]["reasons"]


def test_every_reason_is_in_words_and_in_the_schemas() -> None:
    assert set(REASON_WORDS) == REASONS
    assert set(schema("beat.json")["items"]["enum"]) == REASONS
    assert set(schema("summary.json")["propertyNames"]["enum"]) == REASONS
    page = (ROOT / "stream" / "view" / "page" / "words.js").read_text(encoding="utf-8")
    assert [name for name in REASONS if not re.search(rf"\b{name}: \"", page)] == []
    faq = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    assert [name for name in REASONS if f"`{name}`" not in faq] == []


def test_every_reason_of_a_window_has_a_remedy() -> None:
    assert set(REMEDIES) == REASONS - OF_BEATS
    for reason in REMEDIES:
        assert REMEDIES[reason] in fit(0.1, (reason,))


@pytest.mark.parametrize("reasons", [(), ("a_new_one",)])
def test_without_a_remedy_of_its_own_the_general_one_is_shown(reasons: tuple[str, ...]) -> None:
    assert fit(0.1, reasons) == fit(0.1, ("low_quality",))


STALE = CalibrationStatus("stale", 45_000.0, 128, 79)
WIDEST = {"device": "polar-verity-8a3f9b2c", "calibration": STALE}


@pytest.mark.parametrize("source", ["live", "replay", "simulated"])
@pytest.mark.parametrize("reference", [None, Reference(120, 70, 90)])
@pytest.mark.parametrize("width", [80, 120])
def test_the_important_parts_fit(width: int, reference: Reference | None, source: str) -> None:
    payload = beat_payload(beat(source=source, reference=reference, **WIDEST))
    line = beat_line(payload, width)
    assert line.cell_len <= width
    for part in (
        "9b2c  ",
        source.upper(),
        "121/75 mmHg ±10/±6",
        "quality  93%",
        "stale cuff 128/79",
    ):
        assert part in line.plain
    assert "HR  66" in line.plain or width < 120


def test_a_wide_terminal_shows_all_parts() -> None:
    payload = beat_payload(beat())
    line = beat_line(payload, 120).plain
    assert line == beat_line(payload).plain
    for part in ("MAP  91", "HR  66", "31 min ago", "latency 3.4 s"):
        assert part in line


@pytest.mark.parametrize(
    ("interval", "shown"),
    [
        ({"sbp": [112.0, 125.0], "dbp": [70.0, 90.0]}, "±9/±15"),
        ({"sbp": [112.0, 125.0]}, "±9/±?"),
        ({"sbp": ["low", 125.0], "dbp": [70.0]}, "±?/±?"),
        ({"sbp": [112.0, float("nan")], "dbp": [float("-inf"), 80.0]}, "±?/±?"),
        (None, "±?/±?"),
    ],
)
def test_a_pressure_never_stands_without_its_interval(interval: Any, shown: str) -> None:
    payload = beat_payload(beat()) | {"sbp": 121.0, "dbp": 75.0, "interval": interval}
    for width in (80, None):
        assert f"121/75 mmHg {shown}  " in beat_line(payload, width).plain


def test_a_beat_without_pressures_has_no_interval() -> None:
    assert "±" not in beat_line(beat_payload(rejected())).plain


def test_the_first_part_left_out_is_the_latency() -> None:
    payload = beat_payload(beat())
    full = beat_line(payload)
    shorter = beat_line(payload, full.cell_len - 1).plain
    assert shorter == full.plain[: full.plain.index("  latency")]


def test_a_rejected_beat_shows_its_reason_at_80_columns() -> None:
    payload = beat_payload(rejected(**WIDEST))
    payload["reasons"] = ["motion", "irregular", "ectopic", "fast"]
    assert "moving, irregular rhythm, ectopic beats" in beat_line(payload).plain
    line = beat_line(payload, 80)
    assert line.cell_len <= 80
    for part in ("SIMULATED", "—/—", "moving", "quality  10%", "stale cuff"):
        assert part in line.plain
