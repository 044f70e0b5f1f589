"""The level without a cuff reading: live, on sets of awake people, and refitted by a command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from innpar.models.predictor import SHIPPED, Predictor
from innpar.stream.calibration.apply import Corrector
from innpar.stream.calibration.types import Guidance
from innpar.stream.cli.main import main
from innpar.stream.results import CalibrationStatus


def cuff_set(folder: Path, *, seconds: float = 12.0, people: int = 12) -> None:
    """Write a set of clean pulses, every other one upside down."""
    rng, rate = np.random.default_rng(0), 125.0
    time = np.arange(round(seconds * rate)) / rate
    rates = rng.uniform(0.9, 1.4, people)[:, None]
    turn = 2 * np.pi * rates * time
    light = np.sin(turn - 0.8) + 0.4 * np.sin(2 * turn - 1.9) + 0.15 * np.sin(3 * turn - 3.0)
    sign = np.where(np.arange(people) % 2, -1.0, 1.0)
    (folder / "cuff").mkdir(parents=True)
    np.savez(
        folder / "cuff" / "fourwl_200hz.npz",
        ppg=np.round(light * sign[:, None] * 1000).astype(np.int16),
        ppg_scale=np.full(people, 1e-3),
        ppg_offset=np.zeros(people),
        n=np.full(people, len(time)),
        fs=rate,
        subject=np.array([f"p{k}" for k in range(people)]),
        sbp=rng.normal(125.0, 15.0, people),
        dbp=rng.normal(75.0, 8.0, people),
        slope_skew=sign,
    )


@pytest.mark.parametrize("seconds", [12.0, 3.0])
def test_awake_people_are_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    cuff_set(tmp_path, seconds=seconds)
    assert main(["evaluate", "--data", str(tmp_path), "--awake", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["sets"]
    assert row["set"] == "fourwl"
    assert row["people"] >= 10
    assert all(
        published <= mean for published, mean in zip(row["published"], row["mean"], strict=True)
    )
    assert min(row["coverage"]) > 0.8


def test_without_sets_the_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(tmp_path), "--awake"]) == 2
    assert "check the folder" in capsys.readouterr().err


def test_a_refit_needs_its_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["model", "level", str(SHIPPED), str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err


def test_live_windows_without_a_reading_are_shrunk_and_old_manifests_are_not() -> None:
    predictor = Predictor.load()
    manifest = predictor.manifest
    time = np.arange(manifest.window) / manifest.rate
    ppg = np.sin(2 * np.pi * 1.2 * time) + 0.4 * np.sin(4 * np.pi * 1.2 * time - 0.6)
    abp = predictor(ppg[None]).abp[0] + np.float32(25.0)
    pulse = np.zeros(20)
    pulse[1] = 72.0
    guidance = Guidance(None, CalibrationStatus(), pulse)
    old = dataclasses.replace(
        manifest, calibration={k: v for k, v in manifest.calibration.items() if k != "uncalibrated"}
    )
    new, former = (
        Corrector(m).push(abp, (), guidance, accepted=True, segment=0, index=0)
        for m in (manifest, old)
    )
    inner = slice(manifest.drop, -manifest.drop)
    centre = manifest.training["population_mmhg"]
    assert new[inner].max() == pytest.approx(centre["sbp"], abs=6.0)
    assert new[inner].min() == pytest.approx(centre["dbp"], abs=6.0)
    np.testing.assert_allclose(former, abp, atol=1e-3)
