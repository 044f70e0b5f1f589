"""Choice of a live input's columns from its first seconds."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.devices.base import NS, Chunk
from innpar.devices.timing.live_columns import (
    LiveColumns,
    choose_live,
    enough,
    needs_shape,
)
from innpar.devices.timing.plausible_light import COUNTS, GRAVITY, InputColumn
from support.shapes import NO_LIGHT, RATE, Samples, pulse

SECONDS = 2.5
N = int(SECONDS * RATE)
K = np.arange(N)
NOISE = np.random.default_rng(4)

SIBLINGS: dict[str, Samples] = {
    "counter of 16 bits": (K + 65_400.0) % 65_536,
    "counter modulo 10": K % 10.0,
    "counter modulo 100, by two": 2.0 * K % 100,
    "countdown": 4095.0 - K,
    "counter of packets of 7": K // 7 % 16.0,
    "counter that repeats every sample once": K // 2 % 64.0,
    "milliseconds, with jitter": 10.0 * K + NOISE.uniform(0, 4, N),
    "microseconds of 32 bits": (4_294_000_000.0 + 10_000 * K) % 2**32,
    "seconds since 1970": 1.79e9 + K / RATE,
    "sawtooth of 1 Hz": K % 100 / 99.0,
    "falling sawtooth of 72 a minute": -(K % 83.0) * 1.7,
    "staircase up": K // 25 * 40.0,
    "staircase up and down": np.abs(K // 25 % 8 - 4.0) * 100,
    "constant, not worn": np.full(N, 0.0),
    "constant, saturated": np.full(N, 262_143.0),
    "flag": (K // 60 % 2).astype(float),
    "state of three": (K // 20 % 3).astype(float),
    "SpO2 once a second": 97.0 + np.resize([0, 1, 0, -1], 3).repeat(100)[:N],
    "heart rate twice a second": 72.0 + np.resize([0, 2, 1, 3, 0], 5).repeat(50)[:N],
    "temperature once a second": 33.1 + np.repeat([0.0, 0.1, 0.2], 100)[:N],
    "never sent": np.full(N, np.nan),
    "sent with every fifth sample": np.where(K % 5, np.nan, 50 + K % 9),
}
"""Columns without a label that are no light, 2.5 s at 100 Hz."""

LIGHT: Samples = 1000 * pulse()[:N]


def unlabelled(*columns: Samples) -> list[InputColumn]:
    return [InputColumn("", column) for column in columns]


@pytest.mark.parametrize("name", SIBLINGS)
@pytest.mark.parametrize("rate", [RATE, 0.9 * RATE])
def test_a_lone_column_without_a_label_must_look_like_light(name: str, rate: float) -> None:
    chosen = choose_live(unlabelled(SIBLINGS[name]), [0], rate)
    assert chosen.light == ()
    assert chosen.why_not[0]


@pytest.mark.parametrize("name", [*SIBLINGS, *NO_LIGHT])
def test_light_is_used_beside_it(name: str) -> None:
    other = (SIBLINGS | NO_LIGHT)[name][:N]
    for columns, at in ((unlabelled(other, LIGHT), 1), (unlabelled(LIGHT, other), 0)):
        chosen = choose_live(columns, [0, 1], RATE)
        assert chosen.light == (at,)
        assert list(chosen.why_not) == [1 - at]


@pytest.mark.parametrize("rate", [25.0, 50.0, 64.0, 100.0, 250.0])
@pytest.mark.parametrize("beats", [40, 72, 150])
@pytest.mark.parametrize("levels", [8.0, 1000.0])
def test_light_alone_is_used(rate: float, beats: int, levels: float) -> None:
    t = np.arange(int(SECONDS * rate)) / rate
    phase = t * beats / 60 % 1
    wave = np.exp(-(((phase - 0.2) / 0.1) ** 2)) + 0.4 * np.exp(-(((phase - 0.5) / 0.12) ** 2))
    assert choose_live(unlabelled(np.round(levels * wave)), [0], rate).light == (0,)


@pytest.mark.parametrize("scale", GRAVITY)
@pytest.mark.parametrize("first", [0, 1])
def test_three_columns_with_the_length_of_gravity_are_acceleration(
    scale: float, first: int
) -> None:
    swing = 0.05 * np.sin(2 * np.pi * 1.8 * K / RATE)
    axes = [scale * (rest + sign * swing) for rest, sign in ((0.6, 1), (0.0, -1), (-0.8, 1))]
    columns = [*axes, LIGHT] if first == 0 else [LIGHT, *axes]
    chosen = choose_live(unlabelled(*columns), range(4), RATE)
    assert chosen.light == (3 if first == 0 else 0,)
    assert chosen.axes == (first, first + 1, first + 2)
    assert chosen.scale == scale
    assert chosen.all == [*chosen.light, *chosen.axes]


@pytest.mark.parametrize("scale", COUNTS)
def test_counts_of_gravity_are_believed_of_named_axes_only(scale: float) -> None:
    axes = [scale * (rest + 0.01 * np.sin(K / 9)) for rest in (0.6, 0.0, -0.8)]
    named = [InputColumn(name, axis) for name, axis in zip(("ax", "ay", "az"), axes, strict=True)]
    assert choose_live([*named, InputColumn("ir", LIGHT)], [3], RATE).scale == scale
    assert choose_live(unlabelled(*axes), range(3), RATE).axes == ()


def test_a_column_named_as_light_is_never_left_out() -> None:
    columns = [InputColumn("ir", SIBLINGS["counter modulo 10"]), InputColumn("", LIGHT)]
    assert choose_live(columns, [0], RATE).light == (0,)


@pytest.mark.parametrize(
    ("names", "types", "candidates", "needed"),
    [
        (("ppg",), ("",), [0], False),
        (("",), ("PPG",), [0], False),
        (("",), ("",), [0], True),
        (("ch1",), ("",), [0], True),
        (("pulse",), ("",), [0], True),
        (("ppg", "ax", "ay", "az"), ("",) * 4, [0], True),
        (("ppg", "temp"), ("", ""), [0], False),
        (("ch1",), ("",), [], False),
    ],
)
def test_when_names_suffice(
    names: tuple[str, ...], types: tuple[str, ...], candidates: list[int], needed: bool
) -> None:
    none = np.empty(0)
    columns = [InputColumn(name, none, kind) for name, kind in zip(names, types, strict=True)]
    assert needs_shape(columns, candidates) == needed


@pytest.mark.parametrize(
    ("samples", "seconds", "is_enough"),
    [(49, 10.0, False), (50, 2.0, True), (1000, 1.9, False), (1000, 2.0, True), (0, 0.0, False)],
)
def test_two_seconds_and_fifty_samples_are_enough(
    samples: int, seconds: float, is_enough: bool
) -> None:
    assert enough(samples, round(seconds * NS)) == is_enough


def test_light_and_acceleration_get_chunks_of_their_own() -> None:
    times = np.arange(3) * NS
    data = np.array([[1.0, 2.0, 0.0, 5.0, 0.0]] * 3)
    chunk = Chunk("d", "ppg", ("ir", "red", "x", "y", "z"), 100.0, times, data)
    moved, light = LiveColumns((0, 1), (2, 3, 4), 5.0).split([chunk])
    assert isinstance(moved, Chunk)
    assert isinstance(light, Chunk)
    assert (moved.signal, moved.channels) == ("acc", ("x", "y", "z"))
    assert moved.data.tolist() == [[0.0, 1.0, 0.0]] * 3
    assert (light.signal, light.channels) == ("ppg", ("ir", "red"))
    assert light.data.tolist() == [[1.0, 2.0]] * 3
    assert LiveColumns((0, 1)).split([chunk]) == [chunk]
