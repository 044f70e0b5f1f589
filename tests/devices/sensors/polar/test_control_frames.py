"""Polar's control point, byte for byte as its specification and users' logs have it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import BadPacket, Refused
from innpar.devices.sensors.polar import control_frames as cp
from innpar.devices.sensors.polar.control_frames import Op, Setting
from innpar.devices.sensors.polar.frames import MeasurementKind


def test_commands() -> None:
    assert cp.command(Op.SETTINGS, MeasurementKind.PPG).hex() == "0101"
    assert cp.command(Op.SDK_SETTINGS, MeasurementKind.PPG).hex() == "0401"
    assert cp.command(Op.STATUS).hex() == "05"
    assert cp.command(Op.START, MeasurementKind.PPI).hex() == "0203"
    assert cp.command(Op.START, MeasurementKind.SDK_MODE).hex() == "0209"
    assert cp.command(Op.STOP, MeasurementKind.PPG).hex() == "0301"
    settings: cp.Settings = {
        Setting.RATE: (55, 135),
        Setting.RESOLUTION: (22,),
        Setting.CHANNELS: (4,),
        Setting.FACTOR: (1.0,),
    }
    assert cp.command(Op.START, MeasurementKind.PPG, settings).hex() == "02010001370001011600040104"


@pytest.mark.parametrize(
    ("hexed", "settings"),
    [
        ("00018200 01011600", {0: (130,), 1: (22,)}),
        ("00018700 01011600 040104", {0: (135,), 1: (22,), 4: (4,)}),
        (
            "0005 1c00 2c00 3700 8700 b000 01011600 040104",
            {0: (28, 44, 55, 135, 176), 1: (22,), 4: (4,)},
        ),
        ("05010000803f", {5: (1.0,)}),
        ("00013400 01011000 0204 0200 0400 0800 1000 040103", None),
        ("01", {}),
        ("", {}),
    ],
)
def test_settings(hexed: str, settings: dict[int, tuple[float, ...]] | None) -> None:
    params = bytes.fromhex(hexed)
    parsed = cp.parse_settings(params)
    if settings is not None:
        assert parsed == settings
    if len(params) > 1:
        assert cp.build_settings(parsed) == params


def test_the_acceleration_factor() -> None:
    (factor,) = cp.parse_settings(bytes.fromhex("050140da7f39"))[Setting.FACTOR]
    assert factor == pytest.approx(0.000244, rel=1e-3)


def test_answers() -> None:
    answer = cp.parse_answer(bytes.fromhex("f0 02 01 00 00 05 01 00 00 80 3f"))
    assert (answer.op, answer.kind, answer.error, answer.more) == (2, 1, 0, False)
    assert answer.params.hex() == "05010000803f"
    assert cp.parse_answer(bytes.fromhex("f0020906")).error == 6
    assert cp.build_answer(3, 1).hex() == "f003010000"
    assert cp.parse_stopped(bytes.fromhex("010102")) == (1, 2)
    with pytest.raises(BadPacket):
        cp.parse_answer(b"\xf0\x02")


def test_features() -> None:
    verity = bytes.fromhex("0f6e02" + "00" * 14)
    kinds = frozenset(
        {
            MeasurementKind.PPG,
            MeasurementKind.ACC,
            MeasurementKind.PPI,
            MeasurementKind.GYRO,
            MeasurementKind.MAG,
            MeasurementKind.SDK_MODE,
        }
    )
    assert cp.parse_features(verity) == kinds
    assert cp.build_features(kinds) == verity
    assert cp.parse_features(bytes.fromhex("0f0500")) == {MeasurementKind.ECG, MeasurementKind.ACC}
    with pytest.raises(BadPacket):
        cp.parse_features(b"\xf0")


def test_running() -> None:
    assert cp.parse_running(bytes.fromhex("00 41 82 c3 05")) == {
        MeasurementKind.PPG,
        MeasurementKind.PPI,
    }


@pytest.mark.parametrize("code", [*range(1, 15), 99])
def test_every_refusal_says_what_to_do(code: int) -> None:
    error = cp.SensorRefused("starting PPG", code)
    assert isinstance(error, Refused)
    assert error.code == code
    said, _, remedy = str(error).partition("; ")
    assert f"error {code}" in said
    assert len(remedy) > 10


@given(st.binary(max_size=64))
def test_random_bytes(raw: bytes) -> None:
    for parse in (cp.parse_answer, cp.parse_features, cp.parse_settings):
        with contextlib.suppress(BadPacket):
            parse(raw)


@given(st.integers(0, 2**32 - 1))
def test_settings_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings: cp.Settings = {
        Setting(s): tuple(int(v) for v in rng.integers(0, 256, rng.integers(1, 6)))
        for s in rng.permutation(5)
    }
    raw = cp.build_settings(settings)
    assert cp.parse_settings(raw) == settings
    for end in range(2, len(raw)):
        try:
            cut = cp.parse_settings(raw[:end])
        except BadPacket:
            continue
        assert all(settings[key] == cut[key] for key in cut)
