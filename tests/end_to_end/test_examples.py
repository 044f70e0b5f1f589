"""Every example runs as its docstring says, in a process of its own."""

from __future__ import annotations

import asyncio
import csv
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import innpar
from support.harness import shipped
from support.paths import ROOT
from support.sessions import demo, record

EXAMPLES = ROOT / "examples"
TESTED = {
    "live_beats.py",
    "mqtt_subscriber.py",
    "own_device.py",
    "own_sink.py",
    "quickstart.ipynb",
    "reconstruct_array.py",
    "session_to_pandas.py",
}


def executed(name: str, *arguments: str, code: int = 0) -> str:
    """Run an example; return its output."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == TESTED


def test_an_array() -> None:
    lines = executed("reconstruct_array.py").splitlines()
    assert re.match(r"<PressureTrace: 60\.0 s, \d+ of \d+ beats valid, median 1", lines[0])
    assert re.fullmatch(r" *\d+\.\d\d s  1[12]\d/[78]\d mmHg  HR 72", lines[-2])
    assert re.search(r" 9\d% accepted$", lines[-1])


def test_an_array_from_a_file(tmp_path: Path) -> None:
    phase = 2 * np.pi * 1.5 * np.arange(30 * 64) / 64
    np.savetxt(tmp_path / "ppg.txt", np.sin(phase) + 0.4 * np.sin(2 * phase - 1))
    output = executed("reconstruct_array.py", str(tmp_path / "ppg.txt"), "64")
    assert "PressureTrace: 30.0 s" in output
    assert "HR 90" in output


@pytest.mark.slow
def test_live_beats() -> None:
    lines = executed("live_beats.py", "demo?duration=12", "122/74").splitlines()
    assert len(lines) > 4
    assert sum(bool(re.fullmatch(r" *\d+/\d+ mmHg, quality \d+%", line)) for line in lines) > 2


@pytest.mark.slow
def test_a_device_of_ones_own() -> None:
    lines = executed("own_device.py").splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith(
        ("blinker: valid: True, heart rate 59", "blinker: valid: True, heart rate 60")
    )


def test_the_device_is_that_of_the_documentation() -> None:
    text = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (device,) = (block for block in blocks if "class Blinker" in block)
    assert device.strip() in (EXAMPLES / "own_device.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_sink_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "beats.csv"
    executed("own_sink.py", str(out), "demo?duration=10", "demo:3?duration=10&id=other")
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert {row["device"] for row in rows} == {"demo", "other"}
    assert all(float(row["sbp"]) > float(row["dbp"]) > 30 for row in rows)
    assert executed("own_sink.py", code=1).startswith("Stream devices")


def test_a_session(tmp_path: Path) -> None:
    path = tmp_path / "session.mcap"
    record(path, demo(40))
    output = executed("session_to_pandas.py", str(path), "10", "30")
    assert "demo: 2200 samples of ppg0, ppg1, ppg2, ambient at 55 Hz" in output
    assert re.search(r"demo: \d+ beats, \d\d of them with pressures", output)
    assert re.search(r"count +24\d\d\.0 +2\d{3}\.0", output)


def test_a_session_that_does_not_exist(tmp_path: Path) -> None:
    message = executed("session_to_pandas.py", str(tmp_path / "none.mcap"), code=1)
    assert len(message.splitlines()) == 1
    assert "none.mcap" in message


async def test_a_subscriber(mosquitto: Callable[..., Any]) -> None:
    broker = mosquitto()
    command = [str(EXAMPLES / "mqtt_subscriber.py"), "127.0.0.1", str(broker.port)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line, tries = b"", 0
        while not line and tries < 10:  # beats go on until the subscriber has come
            tries += 1
            async with innpar.live(demo(20), broker=broker.url, model=shipped()) as beats:
                async for _ in beats:
                    await asyncio.sleep(0.05)
                try:
                    line = await asyncio.wait_for(process.stdout.readline(), 2)
                except TimeoutError:
                    continue
        assert re.fullmatch(r"demo: \d+\.\d/\d+\.\d mm\[Hg\]", line.decode().strip())
    finally:
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells), "strip them"
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute(cwd=str(tmp_path))
    kinds = [set(output.get("data", {})) for cell in cells for output in cell.outputs]
    assert any("image/png" in kind for kind in kinds)
    assert any("text/html" in kind for kind in kinds)
    assert "mmHg, HR 72" in str(cells)
