"""The long forms of the tests (`scripts/soak`), each in its short form."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.paths import ROOT

FOLDER = ROOT / "scripts/soaks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__main__")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", NAMES)
def test_short_form(name: str, mosquitto: object) -> None:
    run = subprocess.run(
        [sys.executable, FOLDER, name, "--short"],
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_names_are_listed() -> None:
    run = subprocess.run([sys.executable, FOLDER], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in run.stdout.splitlines()] == NAMES
