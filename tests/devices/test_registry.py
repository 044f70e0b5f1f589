"""Devices by name."""

import subprocess
import sys

import pytest

from innpar.devices import NotFound, Refused
from innpar.devices.registry import DEVICES, create, parse
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("demo", ("demo", "", {})),
        ("demo:3", ("demo", "3", {})),
        ("demo?seed=3&rate=135", ("demo", "", {"seed": "3", "rate": "135"})),
        ("replay:a:b.csv?rate=100", ("replay", "a:b.csv", {"rate": "100"})),
        ("lsl:type='PPG'?channel=a=b", ("lsl", "type='PPG'", {"channel": "a=b"})),
    ],
)
def test_parse(spec: str, parts: tuple[str, str, dict[str, str]]) -> None:
    assert parse(spec) == parts


@pytest.mark.parametrize("spec", ["demo?seed", "demo?", "demo?=3", "demo?seed=1&seed=2"])
def test_options_that_are_none(spec: str) -> None:
    with pytest.raises(Refused, match="key=value"):
        create(spec)


def test_an_unknown_name_lists_what_there_is_and_what_was_meant() -> None:
    with pytest.raises(NotFound, match=r"'dmeo' \(did you mean demo\?\)") as caught:
        create("dmeo")
    assert all(name in str(caught.value) for name in DEVICES)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("demo?sead=3", "did you mean seed"),
        ("demo:three", "seed must be a number from 0"),
        ("demo?seed=1.5", "seed must be a whole number"),
        ("demo?rate=60", "rate must be one of 28, 44, 55, 135, 176"),
        ("demo?motion=perhaps", "motion must be on or off"),
        ("demo?duration=nan", "duration must be a number from 1"),
        ("demo?duration=inf", "duration must be a number from 1"),
        ("replay", "replay:FILE"),
    ],
)
def test_an_option_that_makes_no_sense(spec: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        create(spec)


def test_the_demo_takes_its_options() -> None:
    pace = Pace(20.0, 0.5)
    wearer = create("demo:3?rate=135&duration=60&lead=0&motion=off", pace=pace)
    assert wearer == Simulated("demo-3", 3, 135.0, 60.0, 0.0, None, pace, motion=False)
    assert create("demo:seed=3") == create("demo?seed=3") == create("demo:3")


def test_two_wearers_have_two_ids() -> None:
    assert [create(spec).id for spec in ("demo", "demo:1", "demo?id=Left Wrist")] == [
        "demo",
        "demo-1",
        "left-wrist",
    ]


def test_listing_devices_imports_none_of_them() -> None:
    code = (
        "import sys; from innpar.devices.registry import DEVICES;"
        "print([m for m in sys.modules if m.rpartition('.')[2] in"
        " ('simulated', 'files', 'polar', 'lsl', 'bleak', 'pylsl', 'torch', 'scipy')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
