"""Gates of the inspector: each value of the newest beat with its limit."""

from __future__ import annotations

from typing import Any

import pytest

from innpar.stream.view.gates import GATES
from support.browsers import Watched
from support.wards import ward

pytestmark = pytest.mark.slow  # Chromium
ROWS = """[...document.querySelectorAll('#gates tbody tr')].map(
    row => [...row.children].map(cell => cell.textContent))"""


async def rows(watched: Watched, beats: int) -> dict[str, list[str]]:
    await watched.until(f"innpar.shown?.beats.length === {beats} && innpar.gates != null")
    await watched.until("!document.getElementById('gates').hidden")
    await watched.until("innpar.written === innpar.shown")
    await watched.page.wait_for_timeout(300)
    found: list[list[str]] = await watched.page.evaluate(ROWS)
    return {name: cells for name, *cells in found}


async def test_each_gate_has_its_value_and_its_limit() -> None:
    async with ward() as (ours, watched):
        ours.hop(seq=1)
        ours.hop(seq=2, sbp=130.0)
        assert await rows(watched, 2) == {
            "signal quality": ["0.93", "≥ 0.5", "✓ passed"],
            "heart rate, /min": ["59", "38–136", "✓ passed"],
            "SBP": ["130", "20–300", "✓ passed"],
            "DBP": ["75", "20–300", "✓ passed"],
            "MAP": ["91", "30–200", "✓ passed"],
            "pulse pressure": ["55", "≥ 20", "✓ passed"],
            "change from the beat before": ["9", "≤ 20", "✓ passed"],
        }
        assert GATES["hr"] == (38.0, 136.0)


async def test_a_withheld_beat_says_what_it_did_not_pass() -> None:
    async with ward() as (ours, watched):
        ours.hop(seq=1)
        fields: dict[str, Any] = {"seq": 2, "reasons": ["motion", "slow"], "hr": 30.0}
        ours.hop(valid=False, **fields)
        found = await rows(watched, 2)
        assert found["signal quality"] == ["0.20", "≥ 0.5", "✕ withheld"]
        assert found["SBP"] == ["—", "20–300", "not known"]
        assert found["moving"][-1] == found["slow rhythm"][-1] == "✕ withheld"
