"""A cuff reading and its event."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import NS, Event
from innpar.models.calibration.calibrate import Affine, CuffCalibration
from innpar.models.calibration.context import FEATURES
from innpar.stream.calibration.types import CuffReading, PlannedCuff, StoredCalibration

numbers = st.floats(-1e6, 1e6)
affine = st.builds(Affine, numbers, numbers)


@st.composite
def readings(draw: st.DrawFn) -> CuffReading:
    dbp, time = draw(st.floats(25, 150)), draw(st.integers(0, 2**61))
    sbp = dbp + draw(st.floats(1, 100))
    noise = draw(st.none() | st.floats(0.1, 50))
    if draw(st.booleans()):
        return CuffReading(time, sbp, dbp, noise=noise)
    pulse = np.array(draw(st.lists(numbers, min_size=len(FEATURES), max_size=len(FEATURES))))
    level = draw(st.none() | numbers)
    calibration = CuffCalibration(sbp, dbp, pulse, draw(affine), draw(affine), level)
    stored = StoredCalibration(calibration, draw(st.floats(-150, 150)), draw(st.text(max_size=5)))
    return CuffReading(time, sbp, dbp, stored, noise)


@given(readings(), st.integers(0, 10**15))
def test_a_reading_survives_its_event(reading: CuffReading, later: int) -> None:
    at = reading.time + (later if reading.remembered is not None else 0)
    event = reading.event("w", at)
    detail = json.loads(json.dumps(event.detail, allow_nan=False))
    found = CuffReading.of(replace(event, detail=detail))
    assert (event.kind, event.start, event.end) == ("cuff", at, at)
    assert (found.sbp, found.dbp, found.noise) == (reading.sbp, reading.dbp, reading.noise)
    assert abs(found.time - reading.time) <= NS // 2000  # the age has milliseconds
    assert (found.remembered is None) == (reading.remembered is None)
    if found.remembered is None or reading.remembered is None:
        return
    one, other = found.remembered, reading.remembered
    assert (one.height, one.channel) == (other.height, other.channel)
    assert one.calibration.at_cuff.tobytes() == other.calibration.at_cuff.tobytes()
    for name in ("calibrated_map", "uncalibrated_map"):
        assert astuple(getattr(one.calibration, name)) == astuple(getattr(other.calibration, name))
    assert one.calibration.level == other.calibration.level


def remembered(**changes: Any) -> dict[str, Any]:
    maps = {"told": [1.0, 0.0], "alone": [1.0, 0.0]}
    pulse = [0.0] * len(FEATURES)
    return {"age_s": 1.0, "pulse": pulse, **maps, "level": 95.0, "wrist_height": 0.0, **changes}


@pytest.mark.parametrize(
    "part",
    [
        [],
        "text",
        {},
        remembered(pulse=[0.0]),
        remembered(pulse="x"),
        remembered(told=[1.0, 0.0, 2.0]),
        remembered(alone=[float("inf"), 0.0]),
        remembered(level=float("nan")),
        remembered(age_s=None),
        remembered(age_s=float("inf")),
    ],
)
def test_a_remembered_part_of_another_form_is_refused(part: Any) -> None:
    detail = {"sbp": 128.0, "dbp": 79.0, "remembered": part}
    with pytest.raises(ValueError, match=r"no calibration|could not convert"):
        CuffReading.of(Event("w", "cuff", NS, NS, detail))


def test_a_remembered_part_of_this_form_is_read() -> None:
    detail = {"sbp": 128.0, "dbp": 79.0, "remembered": remembered()}
    found = CuffReading.of(Event("w", "cuff", 3 * NS, 3 * NS, detail))
    assert found.time == 2 * NS
    assert found.remembered is not None


def test_a_planned_reading_counts_from_the_first_sample() -> None:
    assert PlannedCuff(128, 79, None, 1.5).reading(10 * NS) == CuffReading(11_500_000_000, 128, 79)
    with pytest.raises(ValueError, match="SBP/DBP"):
        PlannedCuff(79, 128)
