"""The conformance check itself: correct devices pass, each violation is named."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event, NotFound, Refused
from innpar.devices.conformance import NotConforming, check, faults, main
from innpar.devices.lsl.device import Lsl
from innpar.devices.registry import create, listed
from innpar.devices.timing.pace import Pace, SystemClock
from support.loopback import Sender
from support.paths import ROOT

PAGE = ROOT / "docs" / "devices.md"


@pytest.fixture(autouse=True)
def _brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel at two times only, except where a device is to conform in full."""
    if "conforms" not in request.node.name:
        monkeypatch.setattr("innpar.devices.conformance.CANCEL_AFTER", (0.0, 0.002))


def example() -> dict[str, Any]:
    """Return the definitions of the example in docs/devices.md."""
    code = page_code()
    names: dict[str, Any] = {"__name__": "innpar_blinker"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_the_example_of_the_page_conforms() -> None:
    check(example()["Blinker"](), seconds=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("speed", [1.0, 50.0])
def test_the_demo_conforms(speed: float) -> None:
    check(create("demo:7?rate=55", pace=Pace(speed)), seconds=2)


def test_a_replay_conforms(tmp_path: Path) -> None:
    times = np.delete(np.arange(6000), range(3000, 3100)) / 100
    rows = [f"{t:.3f},{np.sin(7 * t):.4f}" for t in times]
    file = tmp_path / "walk.csv"
    file.write_text("time,ppg\n" + "\n".join(rows) + "\n")
    check(create(f"replay:{file}", pace=Pace(float("inf"))), seconds=5)


@pytest.mark.slow
def test_an_lsl_stream_conforms() -> None:
    with Sender("conforming", source_id="c"):
        check(Lsl("conforming"), seconds=4)


def chunk(n: int, **changes: Any) -> Chunk:
    times = T0 + (10 * n + np.arange(10)) * (NS // 100)
    given: dict[str, Any] = {"times": times, "data": np.full((10, 1), float(n)), "rate": 100.0}
    given |= changes
    channels = tuple(f"c{k}" for k in range(given["data"].shape[1]))
    return Chunk("odd", "ppg", channels, given["rate"], given["times"], given["data"])


T0 = 1_700_000_000 * NS
Items = Callable[[], Iterator[Any]]


class Odd:
    """A device that yields the given items, ten chunks by default."""

    id = "odd"
    source = "simulated"
    polarity = 1
    site = "wrist"

    def __init__(self, change: Callable[[list[Any]], object] = lambda _: None, **others: Any):
        self.change = change
        self.__dict__.update(others)

    @asynccontextmanager
    async def open(self, *, clock: Any, tap: Any = None) -> AsyncIterator[AsyncIterator[Any]]:
        items: list[Any] = [chunk(n) for n in range(10)]
        self.change(items)

        async def run() -> AsyncIterator[Any]:
            for item in items:
                yield item
                await asyncio.sleep(0)

        yield run()


def event(kind: str, at: float, **detail: Any) -> Event:
    time = T0 + round(at * NS)
    return Event("odd", kind, time, time, detail)  # type: ignore[arg-type]


def gap(start: float, end: float) -> Event:
    there = event("gap", start, why="lost", lost=10, signal="ppg")
    return replace(there, end=T0 + round(end * NS))


async def test_nothing_is_wrong_with_a_plain_device() -> None:
    assert await faults(Odd()) == []
    assert await faults(Odd(lambda items: items.insert(3, event("wear", 0.3, worn=True)))) == []


async def test_a_gap_with_an_event_is_no_violation() -> None:
    def lose(items: list[Any]) -> None:
        items[4] = gap(0.39, 0.50)

    assert await faults(Odd(lose)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items.insert(5, event("wear", 0.2, worn=True)), "must precede"),
        (lambda items: items.pop(4), "no gap event"),
        (lambda items: items.__setitem__(4, gap(0.38, 0.5)), "does not start at"),
        (lambda items: items.__setitem__(4, gap(0.39, 0.6)), "does not end at"),
        (lambda items: items.append(event("wear", 2.0)), "'worn'"),
        (lambda items: items.append(event("party", 2.0)), "unknown kind"),
        (lambda items: items.append(event("notice", 2.0, text="x", n=np.int64(1))), "plain JSON"),
        (lambda items: items.append(event("notice", 2.0, text="x", code=7)), "code must be a str"),
        (
            lambda items: items.append(replace(event("marker", 2.0, text="x"), end=0)),
            "has a duration",
        ),
        (lambda items: items.append("a word"), "yields str"),
        (lambda items: items.clear(), "no samples"),
        (lambda items: items.reverse(), "are not after the one before"),
        (lambda items: items.insert(2, replace(items[2], device="other")), "id changes"),
        (
            lambda items: items.__setitem__(2, chunk(2, data=np.zeros((10, 1), np.float32))),
            "float32",
        ),
        (lambda items: items.__setitem__(2, chunk(2, data=np.zeros((10, 2)))), "channels change"),
        (
            lambda items: items.__setitem__(slice(None), [chunk(n, rate=70.0) for n in range(10)]),
            "is 70 Hz, measured 100 Hz",
        ),
    ],
)
async def test_every_violation_is_named(
    change: Callable[[list[Any]], object], message: str
) -> None:
    found = await faults(Odd(change))
    assert any(message in fault for fault in found), found


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"id": "Left Wrist"}, "may contain only"),
        ({"source": "dream"}, "source 'dream'"),
        ({"polarity": 2}, "polarity 2"),
        ({"site": "toe"}, "site 'toe'"),
        ({"source": "live"}, "it ended; a live device"),
    ],
)
async def test_its_attributes_are_checked(others: dict[str, Any], message: str) -> None:
    assert any(message in fault for fault in await faults(Odd(**others)))


async def test_a_reused_buffer_is_found() -> None:
    shared = np.zeros((10, 1))

    def reuse(items: list[Any]) -> None:
        for n in range(10):
            shared[:] += n
            items[n] = chunk(n, data=shared)

    class Late(Odd):
        @asynccontextmanager
        async def open(self, **keys: Any) -> AsyncIterator[AsyncIterator[Any]]:
            async with super().open(**keys) as items:

                async def run() -> AsyncIterator[Any]:
                    async for item in items:
                        yield item
                        shared[:] += 1

                yield run()

    assert any("changes after" in fault for fault in await faults(Late(reuse)))


async def test_leftover_tasks_and_threads_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innpar.devices.conformance.GRACE", 0.05)
    monkeypatch.setattr("innpar.devices.conformance.CLOSING", 0.3)
    over = threading.Event()
    kept: list[Any] = []

    class Messy(Odd):
        @asynccontextmanager
        async def open(self, **keys: Any) -> AsyncIterator[AsyncIterator[Any]]:
            kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))
            thread = threading.Thread(target=over.wait, name="stray")
            thread.start()
            kept.append(thread)
            async with super().open(**keys) as items:
                yield items

    found = await faults(Messy())
    over.set()
    for one in kept:
        if isinstance(one, threading.Thread):
            one.join()
        else:
            one.cancel()
    assert any("task forgotten is left after it was closed" in fault for fault in found)
    assert any("thread stray is left after it was cancelled" in fault for fault in found)


async def test_times_of_a_live_device() -> None:
    clock = SystemClock()

    def shifted(by: float) -> Callable[[list[Any]], None]:
        def change(items: list[Any]) -> None:
            shift = clock.now() - T0 + round(by * NS)
            items[:] = [chunk(n, times=chunk(n).times + shift) for n in range(10)]

        return change

    assert any("in the future" in f for f in await faults(Odd(shifted(1.0), source="live")))
    assert any("minute old" in f for f in await faults(Odd(shifted(-100.0), source="live")))


def test_check_raises_all_faults_in_one_message() -> None:
    with pytest.raises(NotConforming, match="odd does not conform:\n- site 'toe'") as caught:
        check(Odd(lambda items: items.pop(4), site="toe"))
    assert len(caught.value.faults) >= 2


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "innpar.devices.conformance"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m innpar.devices.conformance NAME")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a package with an entry point, as the metadata files that pip writes."""

    def install(name: str, code: str) -> None:
        folder = tmp_path / f"site-{time.monotonic_ns()}"
        module = f"innpar_{name}_{time.monotonic_ns()}"
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: innpar-{name}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[innpar.devices]\n{name} = {module}:entry\n")
        monkeypatch.syspath_prepend(str(folder))

    return install


def page_code() -> str:
    return PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


def test_a_plugged_in_device_is_listed_and_made(package: Callable[[str, str], None]) -> None:
    package("blinker", page_code())
    assert "the sensor that blinks" in listed()["blinker"]
    assert create("blinker:left?brightness=2").id == "blinker-left"
    with pytest.raises(Refused, match="did you mean brightness"):
        create("blinker?brightnes=2")
    with pytest.raises(NotFound, match="did you mean blinker"):
        create("blinkr")
    with pytest.raises(NotFound, match="plug it in"):
        check(create("blinker:nowhere"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import a_library_that_is_not_there", "cannot be loaded .*a_library_that_is_not_there"),
        ("entry = 3", "is not an Entry"),
        ("1 / 0", "cannot be loaded"),
    ],
)
def test_a_broken_plugin_is_reported_in_one_line(
    package: Callable[[str, str], None], code: str, message: str
) -> None:
    package("broken", code)
    with pytest.raises(Refused, match=message) as caught:
        create("broken")
    assert "\n" not in str(caught.value)
    assert listed()["broken"] == str(caught.value)
    assert create("demo").id == "demo"


def test_two_of_one_name(package: Callable[[str, str], None]) -> None:
    package("twin", page_code())
    package("twin", page_code())
    with pytest.raises(Refused, match="two packages call a device 'twin'"):
        create("twin")


def test_a_built_in_name_cannot_be_taken(package: Callable[[str, str], None]) -> None:
    package("demo", page_code())
    assert create("demo").source == "simulated"


def test_the_command_needs_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
    assert main(["demo-that-is-not"]) == 1
    assert "no device is called" in capsys.readouterr().out


def test_untested_devices_are_listed() -> None:
    assert "pairing untested" in listed()["polar"]
