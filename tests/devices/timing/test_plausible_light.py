"""Columns that may be light, and those whose shape says that they are not."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.devices.timing.plausible_light import InputColumn, choose_light, why_not_light
from support.shapes import NO_LIGHT, RATE, T, pulse


@pytest.mark.parametrize("name", NO_LIGHT)
def test_shapes_that_are_no_light(name: str) -> None:
    assert why_not_light(NO_LIGHT[name], RATE)
    unlabelled = choose_light([InputColumn("a", NO_LIGHT[name]), InputColumn("b", pulse())], RATE)
    assert unlabelled.light == (1,)
    labelled = choose_light(
        [InputColumn("ppg", NO_LIGHT[name]), InputColumn("ppg2", pulse())], RATE
    )
    assert labelled.light == (1,)


@pytest.mark.parametrize("rate", [30, 72, 180])
@pytest.mark.parametrize("levels", [6, 50, 4000])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("upstroke", [0.12, 0.25, 0.4])
def test_light_passes(rate: float, levels: int, sign: int, upstroke: float) -> None:
    noise = 0.01 * np.random.default_rng(1).standard_normal(len(T))
    light = sign * np.round(levels * (pulse(rate, upstroke=upstroke) + noise))
    assert why_not_light(light, RATE) == ""


def test_a_labelled_light_beats_an_unlabelled_column() -> None:
    wave = pulse()
    assert choose_light([InputColumn("x", wave), InputColumn("ppg", wave)], RATE).light == (1,)
    assert choose_light(
        [InputColumn("Pulse", wave), InputColumn("PlethWave", wave)], RATE
    ).light == (1,)
    assert choose_light([InputColumn("Pulse", wave), InputColumn("x", wave)], RATE).light == (0,)
    unclear = choose_light([InputColumn("x", wave), InputColumn("y", wave)], RATE)
    assert (unclear.light, unclear.unclear) == ((), (0, 1))


def test_a_pressure_is_no_light_even_alone() -> None:
    choice = choose_light([InputColumn("abp", 80 + 40 * pulse())], RATE)
    assert choice.light == ()
    assert "pressure" in choice.why_not[0]


@pytest.mark.parametrize("gravity", [1.0, 9.81, 1000.0])
@pytest.mark.parametrize("names", [("ax", "ay", "az"), ("c0", "c1", "c2")])
def test_acceleration_by_name_or_gravity(gravity: float, names: tuple[str, str, str]) -> None:
    sway = 0.05 * np.sin(2 * np.pi * 1.8 * T)
    axes = gravity * np.stack([0.6 + sway, 0.0 * T - sway, -0.8 + sway])
    columns = [InputColumn(name, axis) for name, axis in zip(names, axes, strict=True)]
    choice = choose_light([*columns, InputColumn("signal", pulse())], RATE)
    assert choice.light == (3,)
    assert choice.acceleration == (0, 1, 2)
    assert choice.scale == gravity
    assert choose_light(columns, RATE).light == ()
