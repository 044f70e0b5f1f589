"""A later cuff reading is a check before it is a calibration."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace
from innpar.stream.calibration.check import Checker
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.messages.payload import parcel
from innpar.stream.results import CalibrationStatus, Item
from innpar.stream.sinks.terminal import event_text
from support.harness import estimates, stream_all
from support.items import START, beat

OK = CalibrationStatus("ok", 60.0, 128.0, 79.0)
SCHEMA = json.loads(files("innpar.stream.messages").joinpath("schemas", "event.json").read_text())


def cuff(at: float, sbp: float = 120.0, dbp: float = 80.0) -> Event:
    time = START + round(at * NS)
    return Event("demo", "cuff", time, time, {"sbp": sbp, "dbp": dbp})


def filled(**more: object) -> Checker:
    """Return one that has seen a beat a second for 30 s, 110 to 139 over 70 to 99 mmHg."""
    checker = Checker()
    for n in range(30):
        told = {"peak": START + n * NS, "sbp": 110.0 + n, "dbp": 70.0 + n, "calibration": OK}
        checker.push(beat(n, **{**told, **more}))
    return checker


def test_the_beats_of_ten_seconds_before_are_compared() -> None:
    checker = filled()
    first = checker.checked(cuff(19.5)).detail["check"]
    # Beats 10 to 19: median 124.5 over 84.5.
    assert first == {"sbp": 4.5, "dbp": 4.5, "beats": 10, "n": 1, "mae": {"sbp": 4.5, "dbp": 4.5}}
    second = checker.checked(cuff(29.0, 136.0, 97.0)).detail["check"]
    assert (second["sbp"], second["dbp"], second["n"]) == (-1.5, -2.5, 2)
    assert second["mae"] == {"sbp": 3.0, "dbp": 3.5}


@pytest.mark.parametrize(
    "more", [{"sbp": None, "dbp": None}, {"calibration": CalibrationStatus()}, {"peak": START}]
)
def test_without_calibrated_beats_before_it_a_reading_checks_nothing(
    more: dict[str, object],
) -> None:
    forged = cuff(29.0)
    told = filled(**more).checked(
        Event(**{**_fields(forged), "detail": {**forged.detail, "check": 1}})
    )
    assert told.detail == {"sbp": 120.0, "dbp": 80.0}


def _fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in ("device", "kind", "start", "end")}


def cuffs(items: list[Item]) -> list[Event]:
    return [item for item in items if isinstance(item, Event) and item.kind == "cuff"]


def streamed(seconds: float) -> list[Item]:
    device = Simulated(
        pace=Pace(math.inf, seconds),
        start=1_700_000_000 * NS,
        duration=90.0,
        cuff=False,
        motion=False,
        dropouts=False,
    )
    return stream_all(
        [device], cuffs=[PlannedCuff(128, 79, None, 20.0), PlannedCuff(140, 90, None, 60.3)]
    )[0]


@pytest.mark.slow
def test_the_check_is_of_what_was_published_whatever_the_chunks() -> None:
    items = streamed(10.0)
    first, second = cuffs(items)
    assert "check" not in first.detail
    check = second.detail["check"]
    told = [
        b
        for b in estimates(items[: items.index(second)])
        if b.valid and second.start - 10 * NS < b.peak <= second.start
    ]
    assert check["beats"] == len(told) >= 5
    assert check["sbp"] == pytest.approx(np.median([b.sbp for b in told]) - 140, abs=0.05)
    assert check["dbp"] == pytest.approx(np.median([b.dbp for b in told]) - 90, abs=0.05)
    assert {(b.calibration.sbp, b.calibration.dbp) for b in told} == {(128.0, 79.0)}
    for seconds in (0.3, 1.7):
        assert [e.detail for e in cuffs(streamed(seconds))] == [first.detail, second.detail]


def test_the_check_is_published_and_shown() -> None:
    event = filled().checked(cuff(19.5))
    jsonschema.validate(json.loads(parcel(event).payload), SCHEMA)
    assert event_text(event) == (
        "cuff reading 120/80 mmHg; error before it +4.5/+4.5 mmHg "
        "(mean absolute error over 1 reading: 4.5/4.5)"
    )
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(parcel(Event("d", "cuff", 0, 0, {})).payload), SCHEMA)


def test_a_reading_that_meets_no_window_is_told_at_the_end() -> None:
    device = Simulated(pace=Pace(math.inf, 10.0), start=START, duration=4.0, cuff=False)
    assert len(cuffs(stream_all([device], cuffs=[PlannedCuff(128, 79, None, 1.0)])[0])) == 1
