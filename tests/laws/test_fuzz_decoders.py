"""Every decoder against random and damaged bytes, by the script that anybody can run for longer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from innpar.devices.sensors.catalogue import SENSORS
from support.paths import ROOT

SCRIPT = ROOT / "scripts/fuzz_decoders.py"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_thousand_inputs_each() -> None:
    run = subprocess.run(
        [sys.executable, SCRIPT, "20000"], capture_output=True, text=True, timeout=290, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "CRASH" not in run.stdout
    fuzzed = {line.split(":")[0] for line in run.stdout.splitlines()}
    assert {name.split("-")[0] for name in SENSORS} <= fuzzed
