"""Kind of a column by its name: names that people have written."""

from __future__ import annotations

import pytest

from innpar.devices.timing.column_names import kind_of_name

NAMES = {
    "light": "ppg|PPG|ppg_timeseries|PPG (millivolts)|ppg_green|PlethWave|Pleth|SpO2 wave|IR|red"
    "|green|ppg0|infrared|BVP|PPG2|irValue|PPG time series|PLETH|PPG count|greenRaw|red_led",
    "other": "HR|heart_rate|PulseRate|Pulse Rate|SpO2|ppg_quality|ppg_hr|temperature|seq|packet"
    "|counter|ECG|ambient|NIBP|sbp|EDA|activity|II|Systolic BP|hr_bpm|gx|index|step|ir_temp",
    "acceleration": "ax|ay|az|accX|acc_x|Accelerometer Z|ACC0",
    "pressure": "abp|ABP|ART|fin_ap|Finapres|arterial|IBP1|FINAP|bp",
    "estimate": "abp_estimate|estimate|ABP estimated|innpar",
    "time": "time|t|Time (s)|t_s|Time[s]|timestamp|date|elapsed_time_min|time:|Phone timestamp",
    "pulse": "Pulse|pulse",
    "": "x|value|column0|signal|channel 1|raw",
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_as_people_write_them(kind: str) -> None:
    found = {name: kind_of_name(name) for name in NAMES[kind].split("|")}
    assert found == dict.fromkeys(found, kind)


def test_type_and_unit_decide_only_where_the_name_says_nothing() -> None:
    assert kind_of_name("0", "ACC") == "acceleration"
    assert kind_of_name("Channel 1", "PPG") == "light"
    assert kind_of_name("acc_x", "PPG") == "acceleration"
    assert kind_of_name("x", "", "bpm") == "other"
    assert kind_of_name("Pulse", "", "bpm") == "other"
